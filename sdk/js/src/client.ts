import { backoff, stableAfter } from './backoff.js'
import { serveWebSocket } from './connection.js'
import { Emitter } from './emitter.js'
import { CarillonError, closed, lost, needsToken } from './errors.js'
import { type HistoryPage, Reading } from './history.js'
import { pause, whenAborted } from './intime.js'
import { remove } from './list.js'
import type { Message } from './message.js'
import { type Clock, type HistoryOptions, type Options, type PublishOptions, type RequestOptions, type SubscribeOptions, systemClock, type Transport } from './options.js'
import { type Connected, type MessagePacket, shapes } from './packets.js'
import type { Pending, Waiting } from './pending.js'
import type { Position } from './position.js'
import { type Ack, Publishing, random } from './publish.js'
import { Phase } from './stream.js'
import { promise, Sub, type Subscription } from './subscription.js'
import { newTokens, type Tokens } from './tokens.js'
import { serverUrl } from './url.js'

/** A client's state and what led to it. */
export interface Status {
  /** `closed` is for good: by close, or by a refusal that makes reconnecting useless. */
  readonly state: 'connecting' | 'connected' | 'reconnecting' | 'closed'
  /** When connected: the session's name, who the broker takes the client for, and how it is reached. */
  readonly session?: string | undefined
  readonly user?: string | undefined
  readonly transport?: Transport | undefined
  /** When reconnecting: why. When closed: the refusal, absent after close. */
  readonly error?: CarillonError | undefined
  /** When reconnecting: milliseconds from the change to the next attempt. */
  readonly retryIn?: number | undefined
}

/**
 * How long after it was sent first a publish may be sent again, in milliseconds: the broker knows the id for 2 minutes ([PUB-7]).
 */
const again = 90_000

/**
 * Client is a connection to a broker that is made again when it is lost, for ever, until a code of the broker says that it is of no
 * use. It never runs the application's code where it reads, and it never drops a message silently.
 */
export interface Client {
  readonly status: Status
  /** How the broker is reached at present. */
  readonly transport: Transport | undefined
  /** Milliseconds from the last publish that was acknowledged to its acknowledgement. */
  readonly latency: number | undefined
  /** The limits of the session that the broker has announced, by name. */
  readonly limits: Readonly<Record<string, number>>
  /** Resolves with the first connection. Rejects when the client ends before. */
  readonly ready: Promise<void>
  /** What the client is called over all its connections, to nobody but the broker: see the option `exclude` of publish. */
  readonly origin: string
  /** Calls listener at every change of the status. It returns what takes the listener away. */
  on(event: 'status', listener: (status: Status) => unknown): () => void
  /** Subscribes to a filter. What goes wrong is told by the subscription. */
  subscribe(filter: string, options?: SubscribeOptions): Subscription
  subscribe(filter: string, listener: (message: Message) => unknown, options?: SubscribeOptions): Subscription
  /**
   * Publishes data to topic and resolves with the acknowledgement. Bytes are sent as they are, anything else as MessagePack unless
   * `contentType` says otherwise. Publishes are applied in the order of the calls. While there is no connection they wait for the
   * next one; `queue_full` says that too many do. If the connection is lost between sending and acknowledgement it is sent again over
   * the next one, where that cannot apply it twice; otherwise the error is `unknown_outcome`.
   */
  publish(topic: string, data: unknown, options?: PublishOptions): Promise<Ack>
  /** Removes the retained value of topic. */
  clear(topic: string, options?: PublishOptions): Promise<Ack>
  /** Reads a page of the stored messages of the topics that filter matches. It needs the right to history. */
  history(filter: string, options?: HistoryOptions): Promise<HistoryPage>
  /**
   * Publishes data to topic and resolves with the first reply ([REQ-1]). It rejects at once when nobody is there to hear it (`no_responder`), and
   * when there is no connection (`connection`). When the connection is lost, after `timeout` milliseconds and when `signal` is aborted
   * it is `unknown_outcome`, if it was sent. It goes over WebSocket alone.
   */
  request(topic: string, data: unknown, options?: RequestOptions): Promise<Message>
  /** Replies to a request. */
  reply(message: Message, data: unknown, options?: PublishOptions): Promise<Ack>
  /**
   * Waits until every publish that was accepted is acknowledged, at most `timeout` milliseconds (5,000), then ends the connection and
   * the subscriptions.
   */
  close(options?: { timeout?: number }): Promise<void>
}

/** Link is a session on some transport, as the client drives it. */
export interface Link {
  /** _join asks for a subscription that is new, or may come back. */
  _join(s: Sub): void
  /** _leave takes a subscription off the wire. */
  _leave(s: Sub): void
  /** _wake says that there are publishes in the queue. */
  _wake(): void
}

/** Serve makes a session and serves it until it ends; it throws why. */
export type Serve = (c: ClientImpl, token: string) => Promise<never>

export class ClientImpl implements Client {
  status: Status = { state: 'connecting' }
  latency: number | undefined
  limits: Readonly<Record<string, number>> = {}
  readonly ready: Promise<void>
  readonly origin: string
  readonly _url: URL
  readonly _tokens: Tokens
  _subs: Sub[] = []
  /** What is to be sent, or to be sent again, in this order. */
  _queue: Pending[] = []
  /** The session's position. */
  _pos: Position | undefined
  _link: Link | undefined
  /** What makes of a message what was published, if it is compressed. It throws what breaks the connection. */
  _plain?: (m: MessagePacket) => MessagePacket | undefined
  /** How the present session was greeted. */
  _hello: Connected | undefined
  /** Where entry points add the packets that they take. */
  readonly _shapes = shapes
  /** The last request id; never used twice. */
  _nextId = 0
  /** Ends the connection, or the attempt to make one, that is under way. */
  _cut: ((error: unknown) => void) | undefined
  /** Aborted at the end. */
  readonly _stop = new AbortController()
  private readonly _listeners = new Emitter<{ status: Status }>()
  private readonly _first: (error?: unknown) => void
  private _unsettled = 0
  /** What waits for replies, by correlation id. */
  private readonly _requests = new Map<string | undefined, Publishing<Message>>()
  /** The session's inbox, once there has been a request; it ends with the session ([REQ-4]). */
  private _replies: Subscription | undefined
  private _closing?: boolean
  private _flushed: (() => void) | undefined
  /** When the present session began; undefined when there is none. */
  _since: number | undefined
  /** Ends the pause before the next attempt. */
  private _goOn: (() => void) | undefined

  constructor(
    url: string | URL,
    readonly _options: Options,
    private readonly _way: Serve = serveWebSocket,
    readonly _clock: Clock = systemClock,
  ) {
    this._url = serverUrl(url)
    this.origin = _options.origin || random()
    this._tokens = newTokens(_options.token, _clock, this._stop.signal)
    ;[this.ready, this._first] = promise()
    whenAborted(_options.signal, () => this._finish(), this._stop.signal)
    void this._run()
  }

  get transport(): Transport | undefined {
    return this.status.transport
  }

  on(event: 'status', listener: (status: Status) => unknown): () => void {
    return this._listeners._add(event, listener)
  }

  subscribe(filter: string, ...rest: unknown[]): Subscription {
    const listener = typeof rest[0] === 'function' ? (rest.shift() as (message: Message) => unknown) : undefined
    const s = new Sub(this, filter, (rest[0] as SubscribeOptions | undefined) ?? {})
    if (listener) s.on('message', listener)
    if (this._ended) s._end(this.status.error)
    else if (!s._in._over) {
      this._subs.push(s)
      this._join(s)
    }
    return s
  }

  async publish(topic: string, data: unknown, options: PublishOptions = {}): Promise<Ack> {
    return this._ask(new Publishing(topic, data, options, this.origin))
  }

  async clear(topic: string, options: PublishOptions = {}): Promise<Ack> {
    return this.publish(topic, new Uint8Array(), { ...options, contentType: '', retain: true })
  }

  async history(filter: string, options: HistoryOptions = {}): Promise<HistoryPage> {
    return this._ask(new Reading(filter, options))
  }

  async request(topic: string, data: unknown, { headers, timeout = 10_000, ...options }: RequestOptions = {}): Promise<Message> {
    const [given, giveUp] = promise()
    options.signal?.throwIfAborted()
    await this._until(Promise.race([this.ready, given]), { ...options, timeout }, giveUp)
    const { session } = this.status
    if (!session) throw new CarillonError(this.transport ? 'unsupported' : 'connection')
    const inbox = `$inbox.${session}.`
    this._replies ??= this.subscribe(inbox + '>', (m: Message) => this._requests.get(m.headers['correlation-id'])?._settle(m), { retained: false })
    const id = random()
    const p = new Publishing<Message>(topic, data, { ...options, timeout, id, headers: { ...headers, 'reply-to': inbox + 'r', 'correlation-id': id }, receivers: true })
    // its reply settles it
    p._answer = ({ receivers }) => receivers === 0 && p._fail(new CarillonError('no_responder'))
    this._requests.set(id, p)
    this._replies.ready.catch(p._fail)
    return this._ask(p).finally(() => this._requests.delete(id))
  }

  async reply({ headers }: Message, data: unknown, options: PublishOptions = {}): Promise<Ack> {
    return this.publish(headers['reply-to'] as string, data, { ...options, headers: { ...options.headers, 'correlation-id': headers['correlation-id'] as string } })
  }

  async close({ timeout = 5000 } = {}): Promise<void> {
    this._closing = true
    if (this._unsettled) await pause(this._clock, timeout, (end) => (this._flushed = end))
    this._finish()
  }

  async _ask<T>(p: Pending<T>): Promise<T> {
    p._options.signal?.throwIfAborted()
    if (this._closing || this._ended) throw (this._ended && this.status.error) || closed()
    if (this._unsettled >= (this._options.pendingLimit ?? 1024)) throw new CarillonError('queue_full')
    this._unsettled++
    this._queue.push(p)
    this._link?._wake()
    try {
      const answer = await this._until(p._settled, p._options, (why) => this._abandon(p, why))
      if (p instanceof Publishing) this.latency = this._clock._now() - p._sentAt
      return answer
    } finally {
      if (!--this._unsettled) this._flushed?.()
    }
  }

  /** _until waits for p. When the time is up, or the signal is aborted for a reason, it calls giveUp, which has to settle it. */
  private _until<T>(p: Promise<T>, { signal, timeout }: Waiting, giveUp: (why?: unknown) => void): Promise<T> {
    const abort = () => giveUp(signal?.reason)
    const timer = timeout && this._clock._setTimeout(abort, timeout)
    signal?.addEventListener('abort', abort)
    return p.finally(() => {
      this._clock._clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    })
  }

  /** _abandon gives up what nobody waits for any more. */
  private _abandon(p: Pending, why: unknown = lost('no answer in time')): void {
    remove(this._queue, p)
    p._over = true
    p._end(why)
  }

  /** It is closed, for good. */
  _ended?: boolean

  /** _run makes connections until the client is closed or one is refused for good. */
  private async _run(): Promise<void> {
    let shown = false // what there is once more, for want of a fresh token
    for (let attempt = 0; !this._ended; attempt++) {
      const why: unknown = await this._tokens
        ._next()
        .then((token) => this._ended || this._way(this, token))
        .catch((error: unknown) => error)
      if (this._ended) return
      this._weed()
      if (this._clock._now() - (this._since ?? Infinity) >= stableAfter) {
        attempt = 0
        shown = false
      }
      let retryIn = backoff(attempt, this)
      const error = why instanceof CarillonError ? why : lost(`${why}`, why)
      if (error._number) {
        const fresh = needsToken(error._number)
        // without a way to a fresh token, what there is may be good for another session, if it was for this one: once in a row
        if (fresh ? !this._tokens._renew(error.code) && (shown || !this._since) : !error.retryable) return this._finish(error)
        shown = fresh
        retryIn = error.retryAfter || (fresh && !attempt ? 0 : retryIn)
      }
      this._since = undefined
      this._tell({ state: 'reconnecting', error, retryIn })
      await pause(this._clock, retryIn, (end) => (this._goOn = end))
    }
  }

  /** _weed ends the publishes that were sent and may not be sent again: too late, or in a session that is not of that kind. */
  _weed(kind?: string): void {
    const late = this._clock._now() - again
    this._queue = this._queue.filter((p) => !p._in || (p._sentAt > late && p._in === (kind ?? p._in)) || p._end(undefined))
  }

  /** _attached begins a session. */
  _attached(link: Link, at: Position | undefined, status: Omit<Status, 'state'>): void {
    this._link = link
    this._pos = at
    this._since = this._clock._now()
    this._first()
    this._tell({ state: 'connected', ...status })
  }

  /** _detached ends a session: the subscriptions keep their places. */
  _detached(): void {
    this._replies?.close()
    this._replies = undefined
    for (const p of this._requests.values()) this._abandon(p)
    this._link = undefined
    this.limits = {}
    for (const s of this._subs) s._idle(this._pos)
  }

  /** _join asks for a subscription that is new, or whose application has caught up. */
  _join(s: Sub): void {
    if (s._phase === Phase.Idle) this._link?._join(s)
  }

  /** _drop ends a subscription on the wire. */
  _drop(s: Sub): void {
    if (remove(this._subs, s)) this._link?._leave(s)
    this._clock._clearTimeout(s._retry)
    s._phase = Phase.Ended
  }

  /** _refuse ends a subscription with an error of the broker. */
  _refuse(s: Sub, error?: CarillonError): void {
    this._drop(s)
    s._end(error)
  }

  /** _finish ends everything, with error or by the application's will. */
  _finish(error?: CarillonError): void {
    if (this._ended) return
    const why = error ?? closed()
    this._ended = true
    this._cut?.(why)
    this._stop.abort()
    this._first(why)
    for (const p of this._queue.splice(0)) p._end(why)
    for (const s of [...this._subs]) this._refuse(s, error)
    this._flushed?.()
    this._goOn?.()
    this._tell({ state: 'closed', error })
  }

  private _tell(status: Status): void {
    this.status = status
    queueMicrotask(() => void this._listeners._emit('status', status))
  }
}
