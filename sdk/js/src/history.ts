import { deliverable, type Message } from './message.js'
import type { HistoryOptions } from './options.js'
import { encode, type Histories, type MessagePacket, natural, Type } from './packets.js'
import { Pending } from './pending.js'
import { cursorOf, parseCursor, tokenOf } from './position.js'
import { text } from './topic.js'

/** A page of what the broker's store keeps. */
export interface HistoryPage {
  /** The oldest one first. */
  readonly messages: Message[]
  /** Where to go on: as `after` of the next page, or as `since` of a subscription. */
  readonly cursor: string
  /** There is more behind it. */
  readonly more: boolean
  /** Why messages behind `after` are missing, if some are: the reason of a gap. */
  readonly gap: string | undefined
}

/** Reading is a page that is being asked for. If the connection is lost it is asked for again. */
export class Reading extends Pending<HistoryPage, HistoryOptions> {
  _came: MessagePacket[] = []
  private readonly _after: Uint8Array | undefined

  constructor(
    readonly _filter: string,
    options: HistoryOptions,
  ) {
    super(options)
    text(_filter)
    if (options.after) this._after = tokenOf(parseCursor(options.after))
  }

  override _get(): string {
    const { after, limit, last } = this._options
    const given = Object.entries({ after, limit, last }).filter(([, v]) => v)
    return `v1/topics/${encodeURIComponent(this._filter)}/history?${new URLSearchParams(given as string[][])}`
  }

  _packet(id: number): Uint8Array {
    const { limit, last } = this._options
    this._came = []
    return encode([Type.History, id, this._filter], { after: this._after, limit: natural(limit), last: natural(last) })
  }

  _answer({ _position: position, more = false, gap }: Histories): void {
    const messages = this._came.map((m) => deliverable(m, false, { ...position, _offset: m._offset }))
    this._settle({ messages, cursor: cursorOf(position), more, gap })
  }
}
