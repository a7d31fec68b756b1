import type { ClientImpl, Link } from './client.js'
import { Emitter } from './emitter.js'
import { type CarillonError, closed, report } from './errors.js'
import { Inbox, Offer } from './inbox.js'
import { whenAborted } from './intime.js'
import type { Event, Gap, Live, Message, Snapshot } from './message.js'
import type { SubscribeOptions } from './options.js'
import { parseCursor, type Position } from './position.js'
import { Stream } from './stream.js'
import { text } from './topic.js'

/** What a subscription tells its listeners, in the order of the stream. */
export interface SubscriptionEvents {
  message: Message
  gap: Gap
  snapshot: Snapshot
  live: Live
  /** What ended it, if not the application itself. An iteration throws it instead. */
  error: CarillonError
}

/**
 * Subscription is a stream of the messages that match a filter. It outlives connections: after a reconnect it goes on from where
 * it was.
 *
 * It is read in one of two ways: by iterating it, or by a listener for `message` (or the callback given to subscribe). Listeners for
 * the other events are called at their place in the stream, when the reader comes there, which waits for the promises they return. What is not read yet waits in a bounded
 * buffer; when the application is so slow that it is full, the subscription leaves the live stream and resumes from its position
 * later. Only the snapshot of retained values is held whole, however large it is.
 */
export interface Subscription extends AsyncIterable<Message> {
  readonly filter: string
  /** Resolves when the broker has confirmed it: from then on nothing that is published is missed. Rejects with what ended it before. */
  readonly ready: Promise<void>
  /** Calls listener at every such event. It returns what takes the listener away. */
  on<K extends keyof SubscriptionEvents>(event: K, listener: (value: SubscriptionEvents[K]) => unknown): () => void
  /** Iterates like the subscription itself over everything that happens in the stream: messages, gaps, ends of snapshots, live. */
  events(): AsyncIterableIterator<Event>
  /** Ends the subscription at once. An iteration that is under way ends. */
  close(): void
}

/** promise returns a promise and what settles it; it may be rejected without anybody to look. */
export function promise(): [Promise<void>, (error?: unknown) => void] {
  let settle!: (error?: unknown) => void
  const p = new Promise<void>((resolve, reject) => {
    settle = (error) => (error === undefined ? resolve() : reject(error))
  })
  p.catch(() => {})
  return [p, settle]
}

/** What waits for a slow application; nothing if there is nothing to wait for. */
export type Slow = Promise<unknown> | undefined

/** allOf waits for all of them. */
export function allOf(slow: readonly Slow[]): Slow {
  const waiting = slow.filter(Boolean)
  return waiting.length ? Promise.all(waiting) : undefined
}

export class Sub extends Stream implements Subscription {
  readonly ready: Promise<void>
  readonly _in: Inbox
  private readonly _listeners = new Emitter<SubscriptionEvents>()
  private _read?: boolean
  /** _confirm lets ready go. */
  readonly _confirm: (error?: unknown) => void

  constructor(
    private readonly _client: ClientImpl,
    filter: string,
    options: SubscribeOptions,
  ) {
    super(filter, options)
    const { buffer } = _client._options
    this._in = new Inbox(buffer?.messages ?? 4096, buffer?.bytes ?? 4 << 20, _client._clock)
    ;[this.ready, this._confirm] = promise()
    try {
      text(filter)
      if (options.since) this._own = parseCursor(options.since)
    } catch (error) {
      this._end(error)
      return
    }
    whenAborted(options.signal, () => this.close())
  }

  on<K extends keyof SubscriptionEvents>(event: K, listener: (value: SubscriptionEvents[K]) => unknown): () => void {
    const off = this._listeners._add(event, listener)
    if (event === 'message' && !this._read) void this._drain()
    return off
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    for await (const e of this.events()) if (e.type === 'message') yield e
  }

  async *events(): AsyncIterableIterator<Event> {
    if (this._read) throw new TypeError('carillon: read')
    this._read = true
    try {
      for (let e; (e = await this._in._take()); ) {
        if (this._in._unpark()) this._client._join(this)
        await this._listeners._emit(e.type, e as never)
        yield e
      }
    } finally {
      this.close()
    }
  }

  close(): void {
    this._client._drop(this)
    this._end(undefined, true)
  }

  /** _end ends the stream behind what the inbox still holds, or at once if drop is set. */
  _end(error?: unknown, drop = false): void {
    this._in._finish(error, drop)
    this._confirm(error ?? closed())
  }

  /**
   * _accept puts e into the inbox, then calls taken. It waits for room if there is none. A subscription that gets none leaves the
   * stream, served up to the position at, and gets e when it resumes.
   */
  _accept(link: Link, e: Event, at: Position | undefined, taken?: () => void, size = 0): Slow {
    const id = this._id
    this._before = at
    switch (this._in._offer(e, size)) {
      case Offer.Taken:
        this._before = undefined
        taken?.()
        return undefined
      case Offer.Wait:
        return this._in._wait().then(() => (this._id === id ? this._accept(link, e, at, taken, size) : undefined))
    }
    link._leave(this)
    return undefined
  }

  /** _force puts e into the inbox whatever room there is. */
  _force(e: Event | undefined, size = 0): void {
    if (e) this._in._offer(e, size, true)
  }

  /** _drain reads the stream for the listeners. */
  private async _drain(): Promise<void> {
    try {
      for await (const _ of this.events());
    } catch (error) {
      if (!this._listeners._emit('error', error as CarillonError)) report(error)
    }
  }
}
