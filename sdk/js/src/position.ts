import { CarillonError } from './errors.js'

/** Position is a point in the log and in the store ([POS-2]). Applications see it as a cursor, which is opaque to them. */
export interface Position {
  /** The run of the broker that seq counts in: 8 bytes, as characters. */
  readonly _epoch: string
  readonly _seq: number
  /** What offset counts in: 8 bytes, as characters, all 0 for none. */
  readonly _term: string
  readonly _offset: number
}

/** none is the epoch, or the term, of a position that has none. */
export const none = '\0'.repeat(8)

const form = '\x01'

/** parsePosition reads a token; anything but the one token of a position is `bad_position` ([POS-3]). */
export function parsePosition(token: Uint8Array): Position {
  const text = String.fromCharCode(...token)
  const m = /.(.{8})([\x80-\xff]*.)(.{8})(.+)/s.exec(text) ?? []
  const [, epoch = '', seq = '', term = '', offset = ''] = m
  const p = { _epoch: epoch, _seq: number(seq), _term: term, _offset: number(offset) }
  // one token for one position: a number that is longer than it has to be, too large or none is written differently
  return write(p) === text ? p : refuse()
}

function refuse(): never {
  throw new CarillonError('bad_position')
}

function number(leb: string): number {
  return [...leb].reduceRight((n, c) => n * 128 + (c.charCodeAt(0) & 127), 0)
}

function write(p: Position): string {
  return form + p._epoch + leb(p._seq) + p._term + leb(p._offset)
}

function leb(n: number): string {
  if (!Number.isSafeInteger(n)) return ''
  return n > 127 ? String.fromCharCode((n % 128) | 128) + leb(Math.floor(n / 128)) : String.fromCharCode(n)
}

/** tokenOf is the position as the protocol writes it. */
export function tokenOf(p: Position): Uint8Array {
  return bytes(write(p))
}

/** cursorOf is the position as text ([POS-4]); '' for none. */
export function cursorOf(p: Position | null | undefined): string {
  return p ? btoa(write(p)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '') : ''
}

/** parseCursor is the reverse of cursorOf. */
export function parseCursor(cursor: string): Position {
  let token = ''
  try {
    token = atob(cursor.replace(/-/g, '+').replace(/_/g, '/'))
  } catch {}
  const p = parsePosition(bytes(token))
  return cursorOf(p) === cursor ? p : refuse()
}

/** bytes are the characters up to ff as bytes. */
export function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0))
}
