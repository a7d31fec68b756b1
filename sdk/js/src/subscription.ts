import type { ClientImpl } from './client.js'
import { Emitter } from './emitter.js'
import { CarillonError, report } from './errors.js'
import { Inbox } from './inbox.js'
import type { Event, Gap, Live, Message, Snapshot } from './message.js'
import type { SubscribeOptions } from './options.js'
import { parseCursor } from './position.js'
import { Stream } from './stream.js'
import { validateFilter } from './topic.js'

/** What a subscription tells its listeners, in the order of the stream. */
export interface SubscriptionEvents {
  message: Message
  gap: Gap
  snapshot: Snapshot
  live: Live
  /** What ended it, if not the application itself. */
  error: CarillonError
}

/**
 * Subscription is a stream of the messages that match a filter. It outlives connections: after a reconnect it goes on from where
 * it was.
 *
 * It is read in one of two ways: by iterating it, or by a listener for `message` (or the callback given to subscribe). Listeners for
 * the other events are called at their place in the stream, when the reader comes there. What is not read yet waits in a bounded
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

export class Sub extends Stream implements Subscription {
  readonly ready: Promise<void>
  readonly _in: Inbox
  private readonly _listeners = new Emitter<SubscriptionEvents>()
  private _read = false
  private _confirmed!: (error?: unknown) => void

  constructor(
    private readonly _client: ClientImpl,
    filter: string,
    options: SubscribeOptions,
  ) {
    super(filter, options.retained !== false)
    const { buffer } = _client._options
    this._in = new Inbox(buffer?.messages ?? 4096, buffer?.bytes ?? 4 << 20, _client._clock)
    this.ready = new Promise((resolve, reject) => {
      this._confirmed = (error) => (error === undefined ? resolve() : reject(error))
    })
    this.ready.catch(() => {}) // whoever does not look at it is told by the iteration, or by an error event
    try {
      validateFilter(filter)
      if (options.from) this._own = parseCursor(options.from)
    } catch (error) {
      this._end(error)
      return
    }
    const { signal } = options
    if (signal?.aborted) this.close()
    else signal?.addEventListener('abort', () => this.close(), { once: true })
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
    if (this._read) throw new TypeError('carillon: the subscription is already being read')
    this._read = true
    try {
      for (let e; (e = await this._in._take()); ) {
        if (this._in._unpark()) this._client._join(this)
        // eslint-disable-next-line @typescript-eslint/no-floating-promises
        void this._tell(e.type, e)
        yield e
      }
    } catch (error) {
      void this._tell('error', error as CarillonError)
      throw error
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
    this._in._finish(error === undefined ? {} : { _error: error }, drop)
    this._confirm(error ?? new CarillonError('closed', 'the subscription is closed'))
  }

  /** _confirm lets ready go. */
  _confirm(error?: unknown): void {
    this._confirmed(error)
  }

  private _tell<K extends keyof SubscriptionEvents>(event: K, value: SubscriptionEvents[K]): unknown {
    return this._listeners._emit(event, value)
  }

  /** _drain reads the stream for the listeners, which may return promises to be waited for. */
  private async _drain(): Promise<void> {
    this._read = true
    try {
      for (let e; (e = await this._in._take()); ) {
        if (this._in._unpark()) this._client._join(this)
        const slow = this._tell(e.type, e)
        if (slow) await slow
      }
    } catch (error) {
      if (!this._listeners._has('error')) report(error)
      void this._tell('error', error as CarillonError)
    }
  }
}
