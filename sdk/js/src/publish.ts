import { encodePayload } from './codec.js'
import type { PublishOptions } from './options.js'
import { encode, natural, type Published, Type } from './packets.js'
import { Pending } from './pending.js'
import { cursorOf, type Position } from './position.js'
import { text } from './topic.js'

/** The broker's acknowledgement of a publish. */
export interface Ack {
  /** The message's place in this run of the broker; 0: the topic keeps no positions. */
  readonly seq: number
  /** Its place in the store; 0: it was not committed there. */
  readonly offset: number
  /** `appended`: in the broker's log in memory. `committed`: in the store. */
  readonly durability: 'appended' | 'committed'
  /** Live subscriptions it was handed to, if that was asked for and known in time. */
  readonly receivers: number | undefined
  /** A publish with the same id had been applied before. */
  readonly duplicate: boolean
  /** A position at or before the message, to subscribe from. */
  readonly cursor: string
}

/** random is a name that nobody else chooses: 128 bits as text. */
export function random(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join('-')
}

/** Publishing is a publish that is under way. */
export class Publishing<T = Ack> extends Pending<T, PublishOptions> {
  readonly _payload: Uint8Array
  readonly _contentType: string
  /** By which the broker recognizes a repetition, from the first attempt on ([PUB-7]). */
  readonly _mid: string
  /** The session's position when it was sent: before the message, unless that is a duplicate. */
  _base!: Position
  /** The origin whose sessions are not sent it. */
  readonly _exclude: string | undefined
  private readonly _headers: Map<string, string> | undefined

  constructor(
    readonly _topic: string,
    value: unknown,
    options: PublishOptions,
    origin = '',
  ) {
    super(options)
    text(_topic)
    const { exclude } = options
    if (exclude) this._exclude = exclude === true ? origin : text(exclude)
    ;[this._payload, this._contentType] = encodePayload(value, options.contentType)
    this._mid = options.id || random()
    // sorted ([ENC-10]), and text whatever was given: anything else would end the session
    const headers = Object.entries(options.headers ?? {}).map(([k, v]) => [k, String(v)] as const)
    if (headers.length) this._headers = new Map(headers.sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  _packet(id: number): Uint8Array {
    const o = this._options
    return encode([Type.Publish, id, this._topic, this._payload], {
      retain: o.retain || undefined,
      type: this._contentType || undefined,
      headers: this._headers,
      receivers: o.receivers || undefined,
      mid: this._mid,
      ttl: natural(o.ttl),
      exclude: this._exclude,
    })
  }

  _answer(p: Published): void {
    const { _seq: seq, _offset: offset, receivers, duplicate = false } = p
    const before = duplicate ? { _seq: 0, _offset: 0 } : this._base
    const ack: Ack = {
      seq,
      offset,
      receivers,
      durability: p._durability ? 'committed' : 'appended',
      duplicate,
      cursor: cursorOf({ ...this._base, _seq: seq || before._seq, _offset: offset || before._offset }),
    }
    this._settle(ack as T)
  }
}
