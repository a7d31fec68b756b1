import { CarillonError } from './errors.js'
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
  Presence = 21,
  Presences = 22,
  Error = 23,
  Disconnect = 24,
  Subscribes = 25,
}

export interface Connected {
  readonly is: Type.Connected
  readonly _session: string
  readonly _position: Position
  readonly _ping: number
  readonly user?: string
  readonly expires?: number
  readonly limits?: Readonly<Record<string, number>>
  readonly compress?: string
}

export interface Refreshed {
  readonly is: Type.Refreshed
  readonly _id: number
  readonly expires?: number
  readonly limits?: Readonly<Record<string, number>>
}

export interface MessagePacket {
  readonly is: Type.Message
  readonly _seq: number
  readonly _offset: number
  readonly topic: string
  readonly payload: Uint8Array
  readonly ts: number
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly retain?: boolean
  /** Of who has asked for it alone: see compress.ts. */
  readonly encoding?: string
}

export interface GapPacket {
  readonly is: Type.Gap
  readonly _subscription: number
  readonly _reason: string
  readonly _from: Position | null
  readonly _to: Position
  readonly count?: number
}

export interface Published {
  readonly is: Type.Published
  readonly _id: number
  readonly _seq: number
  readonly _offset: number
  readonly _durability: number
  readonly receivers?: number
  readonly duplicate?: boolean
}

export interface Histories {
  readonly is: Type.Histories
  readonly _id: number
  readonly _position: Position
  readonly more?: boolean
  readonly gap?: string
}

export interface ErrorPacket {
  readonly is: Type.Error
  readonly _id: number | null
  readonly _code: number
  readonly _name: string
  readonly _detail: string
  readonly hint?: string
  readonly retry_after?: number
}

export interface Disconnect {
  readonly is: Type.Disconnect
  readonly _code: number
  readonly _name: string
  readonly _detail: string
  /** What the code says if it is absent. */
  readonly reconnect?: boolean
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
  | { readonly is: Type.Subscribed; readonly _id: number; readonly _position: Position }
  | { readonly is: Type.Unsubscribed; readonly _id: number }
  | { readonly is: Type.Replay; readonly _subscription: number; readonly _count: number; readonly _kind: number }
  | { readonly is: Type.RetainedEnd; readonly _subscription: number; readonly reset?: boolean }
  | { readonly is: Type.Resumed; readonly _subscription: number; readonly _position: Position }
  | { readonly is: Type.Ping; readonly _position: Position | null }
  | { readonly is: Type.Pong }

/** By a letter each: i integer, d id from 1, c code, s str, t token of a position, p payload, b bool, l map of integers, h map of str, o array or any other object; in upper case it may be nil. */
type Kinds = Record<string, string>

/** What packets are, by their type. Entry points add what they need. */
export type Shapes = Record<number, readonly [fields: Kinds, options?: Kinds]>

/** What the fields of a packet are, in their order, and its options. */
export const shapes: Shapes = {
  [Type.Connected]: [{ _session: 's', _position: 't', _ping: 'i' }, { user: 's', expires: 'i', limits: 'l' }],
  [Type.Subscribed]: [{ _id: 'd', _position: 't' }],
  [Type.Unsubscribed]: [{ _id: 'd' }],
  [Type.Published]: [{ _id: 'd', _seq: 'i', _offset: 'i', _durability: 'i' }, { receivers: 'i', duplicate: 'b' }],
  [Type.Message]: [{ _seq: 'i', _offset: 'i', topic: 's', payload: 'p', ts: 'i' }, { type: 's', headers: 'h', retain: 'b' }],
  [Type.Replay]: [{ _subscription: 'd', _count: 'i', _kind: 'i' }],
  [Type.RetainedEnd]: [{ _subscription: 'd' }, { reset: 'b' }],
  [Type.Resumed]: [{ _subscription: 'd', _position: 't' }],
  [Type.Gap]: [{ _subscription: 'i', _reason: 's', _from: 'T', _to: 't' }, { count: 'i' }],
  [Type.Ping]: [{ _position: 'T' }],
  [Type.Pong]: [{}],
  [Type.Refreshed]: [{ _id: 'd' }, { expires: 'i', limits: 'l' }],
  [Type.Histories]: [{ _id: 'd', _position: 't' }, { more: 'b', gap: 's' }],
  [Type.Error]: [{ _id: 'D', _code: 'c', _name: 's', _detail: 's' }, { hint: 's', retry_after: 'i' }],
  [Type.Disconnect]: [{ _code: 'c', _name: 's', _detail: 's' }, { reconnect: 'b', after: 'i', hint: 's' }],
}

/** readPackets reads the packets of one WebSocket message, one at a time, each when it is asked for ([TRA-3], [TRA-4]). null is one of a type that is not known. */
export function* readPackets(b: Uint8Array): Generator<Packet | null> {
  const r = new Reader(b)
  do yield decode(r._value())
  while (r._at < b.length)
}

/** decode reads the values of one packet. */
function decode(values: unknown): Packet | null {
  if (!Array.isArray(values)) return fail('packet')
  const is = read('i', values.shift()) as number
  if (is < 1 || is > 127) fail('type')
  const shape = shapes[is]
  if (!shape) return null
  const [fields, options = {}] = shape
  const packet: Record<string, unknown> = { is }
  for (const [name, kind] of Object.entries(fields)) packet[name] = read(kind, values.shift())
  const given = pairs(values[0], 32)
  for (const [name, kind] of Object.entries(options)) {
    const v = read(kind.toUpperCase(), given.get(name))
    if (v !== null) packet[name] = v
  }
  return packet as unknown as Packet
}

/** read takes a value of that kind; nil only if the letter is in upper case. */
function read(kind: string, v: unknown): unknown {
  const lower = kind.toLowerCase()
  if (v === undefined || v === null) return lower === kind ? fail(kind) : null
  const bin = v instanceof Uint8Array
  if ((typeof v)[0] === lower) return v // of the letters above s, b and o
  if (lower === 't' && bin) return parsePosition(v)
  if (lower === 'p' && (bin || typeof v === 'string')) return bin ? v : utf8.encode(v as string)
  if (/[hl]/.test(lower)) {
    const map: Record<string, unknown> = { __proto__: null }
    for (const [k, item] of pairs(v, 64)) map[k] = read(lower === 'l' ? 'i' : 's', item)
    return map
  }
  if (!/[cdi]/.test(lower) || !Number.isSafeInteger(v) || (v as number) < 0) fail(kind)
  if ((lower === 'd' && !v) || (lower === 'c' && (v as number) > 65535)) throw new CarillonError('bad_args', `${kind}: ${v}`)
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
  return msgpack(whole(fields, options))
}

function whole(fields: readonly unknown[], options: Record<string, unknown>): readonly unknown[] {
  return Object.values(options).some((v) => v !== undefined) ? [...fields, options] : fields
}

/** What is asked for by a subscription: id, filter, options. */
export type Wanted = readonly [id: number, filter: string, options: Record<string, unknown>]

/** encodeSubscribes asks for many subscriptions. The options that all have alike are written once ([SUB-13]). */
export function encodeSubscribes(all: readonly Wanted[]): Uint8Array {
  const alike = { ...all[0]?.[2] }
  for (const k of Object.keys(alike)) {
    // tokens are compared by their bytes
    if (all.some(([, , options]) => String(options[k]) !== String(alike[k]))) delete alike[k]
    else for (const [, , options] of all) delete options[k]
  }
  return encode([Type.Subscribes, all.map(([id, filter, options]) => whole([id, filter], options))], alike)
}

/** natural is a number of an option as an integer that the broker can read, whatever was given: another one would end the session. */
export function natural(n: number | undefined): number | undefined {
  return n === undefined ? n : n > 0 ? Math.floor(Math.min(n, 1e15)) : 0
}
