import { CarillonError, retryable } from './errors.js'
import { type Position, parsePosition } from './position.js'
import { fail, Pairs, Reader } from './reader.js'
import { msgpack } from './writer.js'

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
  | MessagePacket
  | GapPacket
  | Published
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
 * What the fields of a packet are, then its options: name:kind. Kinds: i integer, d id from 1, c code, s str, p position, b payload,
 * f bool, l map of integers, h map of str; in upper case it may be nil.
 */
export const shapes: Record<number, string> = {
  [Type.Connected]: 'session:s position:p ping:i/user:s expires:i server:s limits:l',
  [Type.Subscribed]: 'id:d position:p/',
  [Type.Unsubscribed]: 'id:d/',
  [Type.Published]: 'id:d seq:i offset:i durability:i/receivers:i duplicate:f',
  [Type.Message]: 'seq:i offset:i topic:s payload:b ts:i/type:s headers:h retain:f',
  [Type.Replay]: 'subscription:d count:i kind:i/',
  [Type.RetainedEnd]: 'subscription:d/reset:f',
  [Type.Resumed]: 'subscription:d position:p/',
  [Type.Gap]: 'subscription:i reason:s from:P to:p/count:i',
  [Type.Ping]: 'position:P/',
  [Type.Pong]: '/',
  [Type.Error]: 'id:D code:c name:s detail:s/hint:s retry_after:i',
  [Type.Disconnect]: 'code:c name:s detail:s/reconnect:f after:i hint:s',
}

/** readPackets reads the packets of one WebSocket message, one at a time, each when it is asked for ([TRA-3], [TRA-4]). null is one of a type that is not known. */
export function* readPackets(b: Uint8Array): Generator<Packet | null> {
  const r = new Reader(b)
  do yield decode(r._value())
  while (r._at < b.length)
}

type Fields = readonly (readonly [name: string, kind: string])[]
interface Shape {
  readonly _fields: Fields
  readonly _options: Fields
}
const parsed: Record<number, Shape> = {}

function shapeOf(type: number): Shape | undefined {
  const [fields, options] = (shapes[type] ?? '').split('/')
  const parse = (part: string) => (part.match(/\w+:\w/g) ?? []).map((f) => f.split(':') as [string, string])
  return options === undefined ? undefined : (parsed[type] ??= { _fields: parse(fields as string), _options: parse(options) })
}

/** decode reads the values of one packet. */
function decode(values: unknown): Packet | null {
  if (!Array.isArray(values)) return fail('packet')
  const is = read('i', values.shift(), 'type') as number
  if (is < 1 || is > 127) fail('type')
  const shape = shapeOf(is)
  if (!shape) return null
  const packet: Record<string, unknown> = { is }
  for (const [name, kind] of shape._fields) packet[name] = read(kind, values.shift(), name)
  const given = pairs(values[0], 32)
  for (const [name, kind] of shape._options) {
    const v = read(kind.toUpperCase(), given.get(name), name)
    if (v !== null) packet[name] = v
  }
  if (is === Type.Disconnect) packet['reconnect'] ??= retryable(packet['code'] as number)
  return packet as unknown as Packet
}

/** read takes a value for a field of that kind; nil only if the kind is in upper case. */
function read(kind: string, v: unknown, name: string): unknown {
  const lower = kind.toLowerCase()
  if (v === undefined || v === null) return lower === kind ? fail(name) : null
  const type = typeof v
  const bin = v instanceof Uint8Array
  if (lower === 's' && type === 'string') return v
  if (lower === 'f' && type === 'boolean') return v
  if (lower === 'p' && bin) return parsePosition(v)
  if (lower === 'b' && (bin || type === 'string')) return bin ? v : new TextEncoder().encode(v as string)
  if (/[hl]/.test(lower)) {
    const map = Object.create(null)
    for (const [k, item] of pairs(v, 64)) map[k] = read(lower === 'l' ? 'i' : 's', item, name)
    return map
  }
  if (!/[cdi]/.test(lower) || !Number.isSafeInteger(v) || (v as number) < 0) fail(name)
  if ((lower === 'd' && !v) || (lower === 'c' && (v as number) > 65535)) throw new CarillonError('bad_args', `${name}: ${v}`)
  return v
}

/** pairs reads a map with str keys, none twice ([ENC-8]). */
function pairs(v: unknown, most: number): Map<string, unknown> {
  const map = new Map<string, unknown>()
  if (v === undefined || v === null || (Array.isArray(v) && !v.length)) return map
  const items = v instanceof Pairs ? v._items : fail('options')
  for (let i = 0; i < items.length; i += 2) {
    const key = items[i]
    if (typeof key !== 'string' || map.has(key)) fail('options')
    map.set(key as string, items[i + 1])
  }
  if (map.size > most) fail('options')
  return map
}

/** encode writes a packet: its type and fields, then its options, of which those that are undefined are absent ([ENC-10]). */
export function encode(fields: readonly unknown[], options: Record<string, unknown> = {}): Uint8Array {
  return msgpack(Object.values(options).some((v) => v !== undefined) ? [...fields, options] : fields)
}
