import { decodePayload } from './codec.js'
import { cursorOf, type Position } from './position.js'

/** One message of a subscription. It belongs to the application. */
export interface Message {
  readonly type: 'message'
  readonly topic: string
  /**
   * The payload: decoded if it is MessagePack, JSON or text, otherwise its bytes. undefined when it is empty, which with `retain`
   * says that the topic's retained value was removed. When it cannot be decoded it is the bytes, and `error` says why.
   */
  readonly data: unknown
  /** Why the payload could not be decoded. */
  readonly error: Error | undefined
  /** As published; '' is MessagePack, or over HTTP also JSON. */
  readonly contentType: string
  /** An object without a prototype. */
  readonly headers: Readonly<Record<string, string>>
  /** When the broker accepted it, in milliseconds since the Unix epoch. */
  readonly time: number
  /** It became the topic's retained value. */
  readonly retain: boolean
  /** It came from the snapshot of retained values, not from the stream. */
  readonly retained: boolean
  /** The subscription's position after it, to go on from; '' in the first snapshot, from the middle of which nothing can be resumed. */
  readonly cursor: string
}

/** Messages are missing in the stream at this point. */
export interface Gap {
  readonly type: 'gap'
  readonly filter: string
  /**
   * Why: `epoch` (the broker was restarted), `trimmed` (no longer held), `ahead`, `forbidden`, `not_stored`, `live`, or another one of
   * a later broker. `snapshot` is the client's own: the WebSocket was lost in the middle of the retained values, or the broker
   * restarted, when SSE or long-poll took over; the values are sent again, what was published meanwhile may be missing.
   */
  readonly reason: string
  /** The last position before the gap; '' when it is not known. */
  readonly from: string
  readonly to: string
  /** How many messages are missing, if that is known. */
  readonly count: number | undefined
}

/** The snapshot of retained values is complete. */
export interface Snapshot {
  readonly type: 'snapshot'
  /** It replaces what the application knows: a retained topic that was not in it has been cleared. */
  readonly reset: boolean
  readonly cursor: string
}

/** What comes next is live: everything missed has been sent, or told by a gap. */
export interface Live {
  readonly type: 'live'
  readonly cursor: string
}

/** One step of a subscription's stream. */
export type Event = Message | Gap | Snapshot | Live

/** What a message carries, from whatever transport. */
export interface Content {
  readonly topic: string
  readonly type?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly ts: number
  readonly retain?: boolean | undefined
  /** The payload, or, where it came decoded already, its value. */
  readonly payload?: Uint8Array | undefined
  readonly data?: unknown
}

/** deliverable makes the application's message of what came. */
export function deliverable(m: Content, retained: boolean, position: Position | undefined): Message {
  let { payload, type: contentType = '', data } = m
  let error: Error | undefined
  if (payload) {
    try {
      data = decodePayload(payload, contentType)
    } catch (e) {
      data = payload
      error = e as Error
    }
  }
  return {
    type: 'message',
    topic: m.topic,
    data,
    error,
    contentType,
    headers: { __proto__: null, ...m.headers } as never,
    time: m.ts,
    retain: !!m.retain,
    retained,
    get cursor() {
      return cursorOf(position)
    },
  }
}
