import { encodePayload } from './codec.js'
import { CarillonError } from './errors.js'
import type { PublishOptions } from './options.js'
import { encode, type Published, Type } from './packets.js'
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

/** Publishing is a publish that is under way. */
export class Publishing {
  readonly _payload: Uint8Array
  readonly _contentType: string
  readonly _settled: Promise<Ack>
  _settle!: (ack: Ack) => void
  _fail!: (error: unknown) => void
  /** The session's position when it was sent. */
  _base: Position | undefined
  _sentAt = 0
  private readonly _headers: Map<string, string> | undefined

  constructor(
    readonly _topic: string,
    value: unknown,
    readonly _options: PublishOptions,
  ) {
    text(_topic)
    ;[this._payload, this._contentType] = encodePayload(value, _options.contentType)
    // sorted ([ENC-10]), and text whatever was given: anything else would end the session
    const headers = Object.entries(_options.headers ?? {}).map(([k, v]) => [k, String(v)] as const)
    if (headers.length) this._headers = new Map(headers.sort(([a], [b]) => (a < b ? -1 : 1)))
    this._settled = new Promise((resolve, reject) => {
      this._settle = resolve
      this._fail = reject
    })
  }

  /** _packet is the request with that id. */
  _packet(id: number): Uint8Array {
    const o = this._options
    return encode([Type.Publish, id, this._topic, this._payload], {
      retain: o.retain || undefined,
      type: this._contentType || undefined,
      headers: this._headers,
      receivers: o.receivers || undefined,
      mid: o.id || undefined,
    })
  }

  /** _published takes the acknowledgement. */
  _published(p: Published): void {
    const { seq, offset, receivers } = p
    const base = this._base
    this._settle({
      seq,
      offset,
      receivers,
      durability: p.durability ? 'committed' : 'appended',
      duplicate: !!p.duplicate,
      cursor: base ? cursorOf({ ...base, seq: seq || base.seq, offset: offset || base.offset }) : '',
    })
  }

  /** _lost says that it was sent, and that no answer came. */
  _lost(cause?: unknown): void {
    this._fail(new CarillonError('unknown_outcome', 'no answer came', { cause }))
  }
}
