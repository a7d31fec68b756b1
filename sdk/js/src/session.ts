import { backoff } from './backoff.js'
import { type ClientImpl, type Link, remove } from './client.js'
import { CarillonError } from './errors.js'
import { deliverable } from './message.js'
import { Reading } from './history.js'
import { type Connected, type Disconnect, encode, type ErrorPacket, type GapPacket, type MessagePacket, type Packet, type Refreshed, Type } from './packets.js'
import { Pending } from './pending.js'
import { none, type Position } from './position.js'
import { Publishing } from './publish.js'
import { Phase } from './stream.js'
import { allOf, type Slow, Sub } from './subscription.js'
import { match } from './topic.js'

/** What is sent with an id and gets an answer; a number is the subscription to end, a string a fresh token. */
type Request = Sub | Pending | number | string

/** Session is a session of the broker over WebSocket: it writes requests, and hands out what comes. */
export class Session implements Link {
  private readonly _control: Uint8Array[] = []
  private readonly _requests: Request[] = []
  private readonly _inflight = new Map<number, Request>()
  private readonly _byId = new Map<number, Sub>()
  /** Live, but with a position of their own still. */
  private _joining: Sub[] = []
  /** What remains of a Replay: so many messages for the subscription, or the request, that has this id, if it still has. */
  private _replay = { subscription: 0, kind: 0 }
  private _left = 0
  /** The broker's run and the user: in sessions of the same ones a publish may be repeated. */
  private _kind = ''
  /** After which requests are made again. */
  private readonly _timers: unknown[] = []

  constructor(
    private readonly _c: ClientImpl,
    readonly _wake: () => void,
    private readonly _began: (hello: Connected) => void,
  ) {}

  /** _begin asks again for what is subscribed, and lets go what waits. */
  private _begin(hello: Connected): void {
    const c = this._c
    const { user, session } = hello
    c._weed((this._kind = hello.position.epoch + user))
    c._attached(this, hello.position, { session, user, transport: 'websocket' })
    this._lasts(hello)
    this._began(hello)
    for (const s of c._subs) this._join(s)
    this._wake()
  }

  /** _lasts takes what a token gives the session: that of Connect, or a fresh one, which is named. */
  private _lasts({ expires, limits = {} }: Connected | Refreshed, token?: string): void {
    this._c.limits = limits
    this._c._tokens._accepted(expires, (fresh) => fresh && this._request(fresh), token)
  }

  /** _detach ends it: what is in flight is first when it is sent again. */
  _detach(): void {
    this._c._tokens._stop()
    this._timers.forEach(this._c._clock.clearTimeout)
    this._c._queue.unshift(...[...this._inflight.values()].filter((r): r is Pending => r instanceof Pending && !r._over))
    this._c._detached()
  }

  /** _fill is the next message to write: answers to pings, then requests, then publishes, as many as fit. */
  _fill(): Uint8Array | undefined {
    const c = this._c
    const { packet = 65536, inflight = 64 } = c.limits
    const parts = this._control.splice(0)
    let size = parts.reduce((n, b) => n + b.length, 0)
    full: for (const queue of [this._requests, c._queue] as Request[][]) {
      for (let r; (r = queue[0]) !== undefined; ) {
        if (this._inflight.size >= inflight) break full
        const id = c._nextId + 1
        const b = typeof r === 'object' ? r._packet(id) : encode([typeof r === 'string' ? Type.Refresh : Type.Unsubscribe, id, r])
        if (size && size + b.length > packet) break full
        queue.shift()
        if (r instanceof Publishing) {
          if (b.length > packet) {
            r._end(new CarillonError('too_large', `found ${b.length} bytes, wanted at most ${packet}`))
            continue
          }
          r._base = c._pos as Position
          r._sentAt ||= c._clock.now()
          r._again = !!r._in
          r._in = this._kind
        } else if (r instanceof Sub) this._byId.set((r._id = id), r)
        parts.push(b)
        size += b.length
        this._inflight.set((c._nextId = id), r)
      }
    }
    if (!size) return undefined
    const message = new Uint8Array(size)
    size = 0
    for (const b of parts) {
      message.set(b, size)
      size += b.length
    }
    return message
  }

  _join(s: Sub): void {
    if (s._phase !== Phase.Idle || s._in._parked) return
    s._phase = Phase.Asked
    this._request(s)
  }

  _leave(s: Sub): void {
    remove(this._requests, s)
    if (s._id) {
      this._byId.delete(s._id)
      this._request(s._id)
    }
    s._idle(this._c._pos)
  }

  private _request(r: Request): void {
    this._requests.push(r)
    this._wake()
  }

  /** _receive takes packets, in order; of types that a later version may add, none. */
  _receive(packets: Generator<Packet | null>): Slow {
    for (let next; !(next = packets.next()).done; ) {
      const slow = next.value && this._dispatch(next.value)
      if (slow) return slow.then(() => this._receive(packets))
    }
    return undefined
  }

  private _dispatch(p: Packet): Slow {
    const c = this._c
    if (!c._link && p.is !== Type.Connected && p.is !== Type.Disconnect) throw new CarillonError('protocol', 'found no Connected')
    switch (p.is) {
      case Type.Connected:
        this._begin(p)
        break
      case Type.Message:
        return this._message(p)
      case Type.Subscribed:
        this._subscribed(p.id, p.position)
        break
      case Type.Unsubscribed:
      case Type.Published:
      case Type.Histories: {
        const r = this._answered(p.id)
        if (r instanceof Pending) r._answer(p)
        break
      }
      case Type.Refreshed:
        this._lasts(p, this._answered(p.id) as string)
        break
      case Type.Replay:
        this._replay = p
        this._left = p.count
        break
      case Type.RetainedEnd: {
        const s = this._serving(p.subscription)
        s?._force(s._retainedEnd(!!p.reset, c._pos as Position))
        break
      }
      case Type.Resumed: {
        const s = this._serving(p.subscription)
        if (!s) break
        const e = s._resumed(p.position)
        if (!s._conflated) this._goLive(s)
        return e && s._accept(this, e, p.position)
      }
      case Type.Gap:
        return this._gap(p)
      case Type.Ping:
        if (p.position) {
          c._pos = p.position
          this._share()
        }
        this._control.push(encode([Type.Pong]))
        this._wake()
        break
      case Type.Error:
        this._refused(p)
        break
      case Type.Disconnect:
        throw errorOf(p, p.reconnect ? p.code : 4200)
    }
    return undefined
  }

  /** _serving is the subscription that has this id, if it is served. */
  private _serving(id: number): Sub | undefined {
    const s = this._byId.get(id)
    return s?._serving ? s : undefined
  }

  /** _answered takes the request of that id out of flight, which may let another one go. */
  private _answered(id: number | null): Request | undefined {
    const r = this._inflight.get(id as number)
    this._inflight.delete(id as number)
    this._wake()
    return r
  }

  private _subscribed(id: number, at: Position): void {
    const s = this._answered(id)
    if (!(s instanceof Sub) || s._id !== id) return // closed meanwhile
    const gap = s._subscribed(at, this._c._pos as Position)
    if (s._phase === Phase.Live) this._goLive(s)
    s._confirm()
    s._force(gap)
  }

  /** _goLive lets plain messages come to s. */
  private _goLive(s: Sub): void {
    s._phase = Phase.Live
    this._joining.push(s)
    this._share()
  }

  /**
   * _share lets live subscriptions share the session's position once it has reached their own ([POS-7]). Of two offsets of the same
   * term the session's is the higher one then, since nothing up to there is missing; a session without a term takes theirs.
   */
  private _share(): void {
    const c = this._c
    this._joining = this._joining.filter((s) => {
      const pos = c._pos as Position
      const own = s._own as Position
      if (s._phase !== Phase.Live || s._shared) return false
      if (own.epoch !== pos.epoch || own.seq > pos.seq) return true
      const term = pos.term === none ? own.term : pos.term
      c._pos = { ...pos, term, offset: term === own.term ? Math.max(pos.offset, own.offset) : pos.offset }
      s._shared = true
      return false
    })
  }

  /** _gap tells a subscription, or all live ones, what is missing. One that has no room for it leaves; it is told when it resumes. */
  private _gap(p: GapPacket): Slow {
    const c = this._c
    const before = c._pos
    if (p.subscription) {
      const s = this._serving(p.subscription)
      return s && this._tellGap(s, p, before)
    }
    c._pos = p.to
    this._share()
    return allOf(c._subs.filter((s) => s._phase === Phase.Live).map((s) => this._tellGap(s, p, before)))
  }

  private _tellGap(s: Sub, p: GapPacket, session: Position | undefined): Slow {
    return s._accept(this, s._gap(p.reason, p.from, p.to, p.count), s._position(session), () => {
      s._gapped(p)
      if (s._phase === Phase.Live) this._goLive(s)
    })
  }

  /** _message hands a message to the subscriptions it is for: the one of the Replay it is in, or all live ones that match. */
  private _message(m: MessagePacket): Slow {
    const c = this._c
    if (this._left) {
      this._left--
      const { subscription, kind } = this._replay
      const r = this._inflight.get(subscription)
      if (r instanceof Reading) r._came.push(m)
      const s = this._serving(subscription)
      return s && this._replayed(s, m, !!kind)
    }
    const pos = c._pos as Position
    const targets = c._subs
      .filter((s) => s._phase === Phase.Live && match(s.filter, m.topic) && !s._repeated(m, pos) && !s._had(m, pos))
      .map((s) => [s, s._position(pos)] as const)
    c._pos = { ...pos, seq: m.seq || pos.seq, offset: m.offset || pos.offset }
    if (this._joining.length) this._share()
    for (const s of this._joining) s._goOver(m, pos)
    return allOf(
      targets.map(([s, before]) => {
        const now = c._pos as Position
        const e = deliverable(m, false, s._resumeAt(s._position(now)))
        return s._accept(this, e, before, () => s._took(now.epoch, m.seq), sizeOf(m))
      }),
    )
  }

  /** _replayed hands a message of a Replay to its subscription. Those of a snapshot are held whatever room there is: from the middle of it nothing can be resumed. */
  private _replayed(s: Sub, m: MessagePacket, retained: boolean): Slow {
    const session = this._c._pos as Position
    if (retained) {
      s._awaiting = true
      s._force(deliverable(m, true, undefined), sizeOf(m))
      s._took('', 0)
      return undefined
    }
    if (s._repeated(m, session)) return undefined
    const at = s._position(session)
    const after = s._shared ? session : s._after(m, session)
    const taken = () => {
      if (!s._shared) s._own = after
      s._took(session.epoch, m.seq)
    }
    return s._accept(this, deliverable(m, false, s._resumeAt(after)), at, taken, sizeOf(m))
  }

  /** _refused takes an Error: the answer to a request, or the end of a subscription, which is asked for again later if that may help. */
  private _refused(p: ErrorPacket): void {
    const c = this._c
    const r = this._answered(p.id)
    const error = errorOf(p)
    if (r instanceof Pending) r._end(error, r._again)
    else if (r && !(r instanceof Sub)) {
      const ms = error.retryAfter || (typeof r === 'string' ? 5000 : 1000)
      if (error.retryable) this._timers.push(c._clock.setTimeout(() => this._request(r), ms))
    } else {
      const s = (r as Sub | undefined) ?? this._serving(p.id as number)
      if (s?._id !== p.id) return
      this._byId.delete(s._id)
      s._id = 0
      if (!error.retryable) return c._refuse(s, error)
      s._idle(c._pos)
      s._retry = c._clock.setTimeout(() => c._join(s), (error.retryAfter ?? 0) + backoff(s._refusals++, c))
    }
  }
}

/** sizeOf is what a message takes in memory, about: in bytes, without what any event takes. */
function sizeOf(m: MessagePacket): number {
  return m.payload.length + m.topic.length + JSON.stringify(m.headers ?? '').length
}

/** errorOf is an error as the broker says it. */
export function errorOf({ code, name, detail, hint, retry_after, after }: Partial<Omit<ErrorPacket, "is"> & Omit<Disconnect, "is">>, number = code): CarillonError {
  return new CarillonError(name as string, detail, { number, hint, retryAfter: retry_after ?? after })
}
