import { CarillonError, retryable } from './errors.js'
import { type Position, parsePosition } from './position.js'
import { fail, Pairs, Reader } from './reader.js'
import { msgpack, utf8 } from './writer.js'

/** The subprotocol of the WebSocket ([TRA-1]). */
export const subprotocol = 'carillon.v1'

/** The types of packets that a client reads or writes. */
export const enum Type {
  Connect = 1,
  Connected = 2,
  Subscribe = 3,
  Subscribed = 4,
  Unsubscribe = 5,
  Unsubscribed = 6,
  Publish = 7,
  Published = 8,
  Message = 9,
  Replay = 10,
  RetainedEnd = 11,
  Resumed = 12,
  Gap = 13,
  Ping = 15,
  Pong = 16,
  Refresh = 17,
  Refreshed = 18,
  History = 19,
  Histories = 20,
  Error = 23,
  Disconnect = 24,
}

export interface Connected {
  readonly is: Type.Connected
  readonly session: string
  readonly position: Position
  readonly ping: number
  readonly user?: string
  readonly expires?: number
  readonly limits?: Readonly<Record<string, number>>
}

export interface Refreshed {
  readonly is: Type.Refreshed
  readonly id: number
  readonly expires?: number
  readonly limits?: Readonly<Record<string, number>>
}

export interface MessagePacket {
  readonly is: Type.Message
  readonly seq: number
  readonly offset: number
  readonly topic: string
  readonly payload: Uint8Array
  readonly ts: number
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly retain?: boolean
}

export interface GapPacket {
  readonly is: Type.Gap
  readonly subscription: number
  readonly reason: string
  readonly from: Position | null
  readonly to: Position
  readonly count?: number
}

export interface Published {
  readonly is: Type.Published
  readonly id: number
  readonly seq: number
  readonly offset: number
  readonly durability: number
  readonly receivers?: number
  readonly duplicate?: boolean
}

export interface Histories {
  readonly is: Type.Histories
  readonly id: number
  readonly position: Position
  readonly more?: boolean
  readonly gap?: string
}

export interface ErrorPacket {
  readonly is: Type.Error
  readonly id: number | null
  readonly code: number
  readonly name: string
  readonly detail: string
  readonly hint?: string
  readonly retry_after?: number
}

export interface Disconnect {
  readonly is: Type.Disconnect
  readonly code: number
  readonly name: string
  readonly detail: string
  readonly reconnect: boolean
  readonly after?: number
  readonly hint?: string
}

/** A packet of the server, by the names of its fields and options. */
export type Packet =
  | Connected
  | Refreshed
  | MessagePacket
  | GapPacket
  | Published
  | Histories
  | ErrorPacket
  | Disconnect
  | { readonly is: Type.Subscribed; readonly id: number; readonly position: Position }
  | { readonly is: Type.Unsubscribed; readonly id: number }
  | { readonly is: Type.Replay; readonly subscription: number; readonly count: number; readonly kind: number }
  | { readonly is: Type.RetainedEnd; readonly subscription: number; readonly reset?: boolean }
  | { readonly is: Type.Resumed; readonly subscription: number; readonly position: Position }
  | { readonly is: Type.Ping; readonly position: Position | null }
  | { readonly is: Type.Pong }

/**
 * What the fields of a packet are, then its options, each by a letter for its kind and its name. Kinds: i integer, d id from 1, c code,
 * s str, p position, b payload, f bool, l map of integers, h map of str; in upper case it may be nil.
 */
const shapes = Object.fromEntries(
  Object.entries({
    [Type.Connected]: 'ssession pposition iping/suser iexpires sserver llimits',
    [Type.Subscribed]: 'did pposition/',
    [Type.Unsubscribed]: 'did/',
    [Type.Published]: 'did iseq ioffset idurability/ireceivers fduplicate',
    [Type.Message]: 'iseq ioffset stopic bpayload its/stype hheaders fretain',
    [Type.Replay]: 'dsubscription icount ikind/',
    [Type.RetainedEnd]: 'dsubscription/freset',
    [Type.Resumed]: 'dsubscription pposition/',
    [Type.Gap]: 'isubscription sreason Pfrom pto/icount',
    [Type.Ping]: 'Pposition/',
    [Type.Pong]: '/',
    [Type.Refreshed]: 'did/iexpires llimits',
    [Type.Histories]: 'did pposition/fmore sgap',
    [Type.Error]: 'Did ccode sname sdetail/shint iretry_after',
    [Type.Disconnect]: 'ccode sname sdetail/freconnect iafter shint',
  }).map(([type, shape]) => [type, shape.split('/').map((part) => part.match(/\w+/g) ?? [])]),
)

/** readPackets reads the packets of one WebSocket message, one at a time, each when it is asked for ([TRA-3], [TRA-4]). null is one of a type that is not known. */
export function* readPackets(b: Uint8Array): Generator<Packet | null> {
  const r = new Reader(b)
  do yield decode(r._value())
  while (r._at < b.length)
}

/** decode reads the values of one packet. */
function decode(values: unknown): Packet | null {
  if (!Array.isArray(values)) return fail('packet')
  const is = read('itype', values.shift()) as number
  if (is < 1 || is > 127) fail('type')
  const [fields, options] = shapes[is] ?? []
  if (!options) return null
  const packet: Record<string, unknown> = { is }
  for (const f of fields as string[]) packet[f.slice(1)] = read(f, values.shift())
  const given = pairs(values[0], 32)
  for (const f of options) {
    const name = f.slice(1)
    const v = read((f[0] as string).toUpperCase() + name, given.get(name))
    if (v !== null) packet[name] = v
  }
  if (is === Type.Disconnect) packet['reconnect'] ??= retryable(packet['code'] as number)
  return packet as unknown as Packet
}

/** read takes a value for a field, of which the letter and the name are given; nil only if the letter is in upper case. */
function read(field: string, v: unknown): unknown {
  const kind = field[0] as string
  const lower = kind.toLowerCase()
  if (v === undefined || v === null) return lower === kind ? fail(field) : null
  const type = typeof v
  const bin = v instanceof Uint8Array
  if (lower === 's' && type === 'string') return v
  if (lower === 'f' && type === 'boolean') return v
  if (lower === 'p' && bin) return parsePosition(v)
  if (lower === 'b' && (bin || type === 'string')) return bin ? v : utf8.encode(v as string)
  if (/[hl]/.test(lower)) {
    const map: Record<string, unknown> = { __proto__: null }
    for (const [k, item] of pairs(v, 64)) map[k] = read((lower === 'l' ? 'i' : 's') + k, item)
    return map
  }
  if (!/[cdi]/.test(lower) || !Number.isSafeInteger(v) || (v as number) < 0) fail(field)
  if ((lower === 'd' && !v) || (lower === 'c' && (v as number) > 65535)) throw new CarillonError('bad_args', `${field}: ${v}`)
  return v
}

/** pairs reads a map with str keys, none twice ([ENC-8]). */
function pairs(v: unknown, most: number): Map<string, unknown> {
  const map = new Map<string, unknown>()
  if (v === undefined || v === null || (Array.isArray(v) && !v.length)) return map
  const items = v instanceof Pairs ? v._items : fail('options')
  for (let i = 0; i < items.length; i += 2) {
    const key = items[i]
    if (typeof key !== 'string' || map.has(key) || map.size >= most) fail('options')
    map.set(key as string, items[i + 1])
  }
  return map
}

/** encode writes a packet: its type and fields, then its options, of which those that are undefined are absent ([ENC-10]). */
export function encode(fields: readonly unknown[], options: Record<string, unknown> = {}): Uint8Array {
  return msgpack(Object.values(options).some((v) => v !== undefined) ? [...fields, options] : fields)
}

/** natural is a number of an option as an integer that the broker can read, whatever was given: another one would end the session. */
export function natural(n: number | undefined): number | undefined {
  return n === undefined ? n : n >>> 0
}
