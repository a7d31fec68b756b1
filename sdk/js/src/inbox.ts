import { pause } from './intime.js'
import type { Clock } from './options.js'
import type { Event } from './message.js'

/** How long, in all, what comes next waits for a full inbox before its subscription is parked, in milliseconds. */
const patience = 100

export const enum Offer {
  Taken,
  /** Full: try again after wait. */
  Wait,
  Parked,
}

/**
 * Inbox holds what has come for a subscription until the application takes it. It is bounded: when something does not fit, the
 * subscription is parked, which means that it leaves the stream and comes back, at its position, once the application has
 * caught up. What the broker's log holds is then the buffer, and no other subscription waits.
 */
export class Inbox {
  _parked?: boolean
  _over?: boolean
  /** What ended it. */
  private _error: unknown
  private _events: [e: Event, size: number][] = []
  private _head = 0
  private _bytes = 0
  private _patience = patience
  private _wakeTaker: (() => void) | undefined
  private _wakeGiver: (() => void) | undefined

  constructor(
    private readonly _maxCount: number,
    private readonly _maxBytes: number,
    private readonly _clock: Clock,
  ) {}

  private get _left(): number {
    return this._events.length - this._head
  }

  /** _offer adds e, of about so many bytes, if there is room, or if force is set. What comes after the end is swallowed. */
  _offer(e: Event, size = 0, force = false): Offer {
    if (this._over) return Offer.Taken
    const n = size + 200
    if (!force && this._left && (this._left >= this._maxCount || this._bytes + n > this._maxBytes)) {
      if (this._patience > 0) return Offer.Wait
      this._parked = true
      return Offer.Parked
    }
    this._events.push([e, n])
    this._bytes += n
    this._wakeTaker?.()
    return Offer.Taken
  }

  /** _wait waits until something has been taken, the inbox is over, or the patience is at its end. */
  async _wait(): Promise<void> {
    const began = this._clock._now()
    await pause(this._clock, this._patience, (end) => (this._wakeGiver = end))
    this._patience -= this._clock._now() - began
  }

  /** _take waits for the next event; undefined or a throw is the end. */
  async _take(): Promise<Event | undefined> {
    while (!this._left) {
      if (this._over) {
        if (this._error !== undefined) throw this._error
        return undefined
      }
      await new Promise<void>((resolve) => (this._wakeTaker = resolve))
    }
    const [e, n] = this._events[this._head++] as [Event, number]
    this._bytes -= n
    if (!this._left || this._head > 255) {
      this._events.splice(0, this._head)
      this._head = 0
    }
    if (this._emptier(2)) this._patience = patience
    this._wakeGiver?.()
    return e
  }

  /** _unpark says, once, that the application has caught up after the subscription was parked. */
  _unpark(): boolean {
    if (!this._parked || !this._emptier(4)) return false
    this._parked = false
    return true
  }

  /** _finish ends the inbox, behind what it holds, or at once if drop is set. */
  _finish(error: unknown, drop: boolean): void {
    if (drop) {
      this._events = []
      this._head = this._bytes = 0
    }
    if (!this._over) this._error = error
    this._over = true
    this._wakeTaker?.()
    this._wakeGiver?.()
  }

  private _emptier(times: number): boolean {
    return this._left * times <= this._maxCount && this._bytes * times <= this._maxBytes
  }
}
