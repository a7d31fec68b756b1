import { backoff } from './backoff.js'
import type { ClientImpl, Link } from './client.js'
import { CarillonError } from './errors.js'
import { remove } from './list.js'
import { deliverable } from './message.js'
import { Reading } from './history.js'
import { type Connected, type Disconnect, encode, encodeSubscribes, type ErrorPacket, type GapPacket, type MessagePacket, type Packet, type Published, type Refreshed, Type } from './packets.js'
import type { Pending } from './pending.js'
import { none, type Position } from './position.js'
import { Publishing } from './publish.js'
import { Phase } from './stream.js'
import { allOf, type Slow, Sub } from './subscription.js'
import { match } from './topic.js'

/** How long a broker may take to answer what was asked for together, in milliseconds. */
const patience = 5_000

/** What a Subscribes takes beyond the packets that it stands for, in bytes. */
const overhead = 8

/** What is sent with an id and gets an answer; a number is the subscription to end, a string a fresh token. */
type Request = Sub | Pending | number | string

/** Session is a session of the broker over WebSocket: it writes requests, and hands out what comes. */
export interface Session extends Link {
  /** _receive takes packets, in order; of types that a later version may add, none. */
  _receive(packets: Generator<Packet | null>): Slow
  /** _fill is the next message to write: answers to pings, then requests, then publishes, as many as fit. */
  _fill(): Uint8Array | undefined
  /** _detach ends it: what is in flight is first when it is sent again. */
  _detach(): void
}

/** newSession makes one. It calls wake when there is something to write, and began with the broker's greeting. */
export function newSession(c: ClientImpl, wake: () => void, began: (hello: Connected) => void): Session {
  const control: Uint8Array[] = []
  const requests: Request[] = []
  /** Subscriptions to ask for. */
  const asked: Sub[] = []
  const inflight = new Map<number, Request>()
  const byId = new Map<number, Sub>()
  /** Live, but with a position of their own still. */
  let joining: Sub[] = []
  /** What remains of a Replay: so many messages for the subscription, or the request, that has this id, if it still has. */
  let replay = { _subscription: 0, _kind: 0 }
  let left = 0
  /** The broker's run and the user: in sessions of the same ones a publish may be repeated. */
  let kind = ''
  /** After which requests are made again. */
  const timers: unknown[] = []
  /** Subscriptions are asked for together; undefined: that has not been tried yet. */
  let together: boolean | undefined

  /** begin asks again for what is subscribed, and lets go what waits. */
  const begin = (hello: Connected): void => {
    const { user, _session: session } = (c._hello = hello)
    c._weed((kind = hello._position._epoch + user))
    c._attached(link, hello._position, { session, user, transport: 'websocket' })
    lasts(hello)
    began(hello)
    for (const s of c._subs) join(s)
    wake()
  }

  /** lasts takes what a token gives the session: that of Connect, or a fresh one, which is named. */
  const lasts = ({ expires, limits = {} }: Connected | Refreshed, token?: string): void => {
    c.limits = limits
    c._tokens._accepted(expires, (fresh) => fresh && ask(fresh), token)
  }

  /** detach ends it: what is in flight is first when it is sent again. */
  const detach = (): void => {
    c._tokens._stop()
    timers.forEach(c._clock._clearTimeout)
    c._queue.unshift(...[...inflight.values()].filter((r): r is Pending => (r as Pending)._answer && !(r as Pending)._over))
    c._detached()
  }

  /** fill is the next message to write: answers to pings, then requests, then publishes, as many as fit. */
  const fill = (): Uint8Array | undefined => {
    const { packet = 65536, inflight: most = 64 } = c.limits
    const parts = control.splice(0)
    const subs: Sub[] = []
    let first = 0 // of parts, for them
    let size = 2 * parts.length // they are Pongs
    full: for (const queue of [requests, asked, c._queue] as Request[][]) {
      for (let r; (r = queue[0]) !== undefined; ) {
        if (queue === c._queue ? inflight.size >= most : subs.length > 999) break full
        const id = c._nextId + 1
        const b = typeof r === 'object' ? r._packet(id) : encode([typeof r === 'string' ? Type.Refresh : Type.Unsubscribe, id, r])
        if (size && size + b.length + overhead > packet) break full
        queue.shift()
        if (r instanceof Publishing) {
          if (b.length > packet) {
            r._end(new CarillonError('too_large'))
            continue
          }
          r._base = c._pos as Position
          r._sentAt ||= c._clock._now()
          r._again = !!r._in
          r._in = kind
        } else if (r instanceof Sub) {
          byId.set((r._id = id), r)
          if (subs.push(r) < 2) first = parts.length
        }
        parts.push(b)
        size += b.length
        inflight.set((c._nextId = id), r)
      }
    }
    if (subs.length > 1 && together !== false) parts.splice(first, subs.length, many(subs))
    return size ? concat(parts) : undefined
  }

  /** many asks for them in one packet, and a while later one by one if that has brought nothing: who does not know it does not answer ([ENC-9]). */
  const many = (subs: Sub[]): Uint8Array => {
    const { _id: id } = subs[0] as Sub
    together ??= !!timers.push(c._clock._setTimeout(() => inflight.has(id) && oneByOne(), patience))
    return encodeSubscribes(subs.map((s) => s._wanted(s._id)))
  }

  /** oneByOne asks again for what was asked for together. It is taken back first, in case that the broker was merely slow. */
  const oneByOne = (): void => {
    together = false
    for (const s of c._subs) {
      if (s._phase !== Phase.Asked) continue
      inflight.delete(s._id)
      leave(s)
      join(s)
    }
  }

  const join = (s: Sub): void => {
    if (s._phase !== Phase.Idle || s._in._parked || s._retry) return
    s._phase = Phase.Asked
    asked.push(s)
    wake()
  }

  const leave = (s: Sub): void => {
    remove(asked, s)
    if (s._id) {
      byId.delete(s._id)
      ask(s._id)
    }
    s._idle(c._pos)
  }

  const ask = (r: Request): void => {
    requests.push(r)
    wake()
  }

  /** receive takes packets, in order; of types that a later version may add, none. */
  const receive = (packets: Generator<Packet | null>): Slow => {
    for (let next; !(next = packets.next()).done; ) {
      const slow = next.value && dispatch(next.value)
      if (slow) return slow.then(() => receive(packets))
    }
    return undefined
  }

  const dispatch = (p: Packet): Slow => {
    if (c._link !== link && p.is !== Type.Connected && p.is !== Type.Disconnect) throw new CarillonError('protocol')
    switch (p.is) {
      case Type.Connected:
        begin(p)
        break
      case Type.Message:
        return message(c._plain?.(p) ?? p)
      case Type.Subscribed:
        subscribed(p._id, p._position)
        break
      case Type.Refreshed:
        lasts(p, answered(p._id) as string)
        break
      case Type.Replay:
        replay = p
        left = p._count
        break
      case Type.RetainedEnd: {
        const s = serving(p._subscription)
        s?._force(s._retainedEnd(!!p.reset, c._pos as Position))
        break
      }
      case Type.Resumed: {
        const s = serving(p._subscription)
        if (!s) break
        const e = s._resumed(p._position)
        if (!s._conflated) goLive(s)
        return e && s._accept(link, e, p._position)
      }
      case Type.Gap:
        return gap(p)
      case Type.Ping:
        if (p._position) {
          c._pos = p._position
          share()
        }
        control.push(encode([Type.Pong]))
        wake()
        break
      case Type.Error:
        refused(p)
        break
      case Type.Disconnect:
        throw errorOf(p, p.reconnect === false ? 4200 : p._code)
      default: // an answer, and Pong, which answers nothing
        ;(answered((p as Published)._id) as Partial<Pending> | undefined)?._answer?.(p)
    }
    return undefined
  }

  /** serving is the subscription that has this id, if it is served. */
  const serving = (id: number): Sub | undefined => {
    const s = byId.get(id)
    return s?._phase === Phase.Asked ? undefined : s
  }

  /** answered takes the request of that id out of flight, which may let another one go. */
  const answered = (id: number | null): Request | undefined => {
    const r = inflight.get(id as number)
    inflight.delete(id as number)
    wake()
    return r
  }

  const subscribed = (id: number, at: Position): void => {
    const s = answered(id)
    if (!(s instanceof Sub) || s._id !== id) return // closed meanwhile
    const gap = s._subscribed(at, c._pos as Position)
    if (s._phase === Phase.Live) goLive(s)
    s._confirm()
    s._force(gap)
  }

  /** goLive lets plain messages come to s. */
  const goLive = (s: Sub): void => {
    s._phase = Phase.Live
    joining.push(s)
    share()
  }

  /**
   * share lets live subscriptions share the session's position once it has reached their own ([POS-7]). Of two offsets of the same
   * term the session's is the higher one then, since nothing up to there is missing; a session without a term takes theirs.
   */
  const share = (): void => {
    joining = joining.filter((s) => {
      const pos = c._pos as Position
      const own = s._own as Position
      if (s._phase !== Phase.Live || s._shared) return false
      if (own._epoch !== pos._epoch || own._seq > pos._seq) return true
      const term = pos._term === none ? own._term : pos._term
      c._pos = { ...pos, _term: term, _offset: term === own._term ? Math.max(pos._offset, own._offset) : pos._offset }
      s._shared = true
      return false
    })
  }

  /** gap tells a subscription, or all live ones, what is missing. One that has no room for it leaves; it is told when it resumes. */
  const gap = (p: GapPacket): Slow => {
    const before = c._pos
    if (p._subscription) {
      const s = serving(p._subscription)
      return s && tellGap(s, p, before)
    }
    c._pos = p._to
    share()
    return allOf(c._subs.filter((s) => s._phase === Phase.Live).map((s) => tellGap(s, p, before)))
  }

  const tellGap = (s: Sub, p: GapPacket, session: Position | undefined): Slow =>
    s._accept(link, s._gap(p._reason, p._from, p._to, p.count), s._position(session), () => {
      s._gapped(p)
      if (s._phase === Phase.Live) goLive(s)
    })

  /** message hands a message to the subscriptions it is for: the one of the Replay it is in, or all live ones that match. */
  const message = (m: MessagePacket): Slow => {
    if (left) {
      left--
      const { _subscription: subscription } = replay
      const r = inflight.get(subscription)
      if (r instanceof Reading) r._came.push(m)
      const s = serving(subscription)
      return s && replayed(s, m, !!replay._kind)
    }
    const pos = c._pos as Position
    const targets = c._subs
      .filter((s) => s._phase === Phase.Live && match(s.filter, m.topic) && !s._repeated(m, pos) && !s._had(m, pos))
      .map((s) => [s, s._position(pos)] as const)
    c._pos = { ...pos, _seq: m._seq || pos._seq, _offset: m._offset || pos._offset }
    if (joining.length) share()
    for (const s of joining) s._goOver(m, pos)
    return allOf(
      targets.map(([s, before]) => {
        const now = c._pos as Position
        const e = deliverable(m, false, s._resumeAt(s._position(now)))
        return s._accept(link, e, before, () => s._took(now._epoch, m._seq), sizeOf(m))
      }),
    )
  }

  /** replayed hands a message of a Replay to its subscription. Those of a snapshot are held whatever room there is: from the middle of it nothing can be resumed. */
  const replayed = (s: Sub, m: MessagePacket, retained: boolean): Slow => {
    const session = c._pos as Position
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
      s._took(session._epoch, m._seq)
    }
    return s._accept(link, deliverable(m, false, s._resumeAt(after)), at, taken, sizeOf(m))
  }

  /** refused takes an Error: the answer to a request, or the end of a subscription, which is asked for again later if that may help. */
  const refused = (p: ErrorPacket): void => {
    const r = answered(p._id)
    const error = errorOf(p)
    if ((r as Pending | undefined)?._answer) (r as Pending)._end(error, (r as Pending)._again)
    else if (p._code === 4404 && together) oneByOne()
    else if (r && !(r instanceof Sub)) {
      const ms = error.retryAfter || (typeof r === 'string' ? 5000 : 1000)
      if (error.retryable) timers.push(c._clock._setTimeout(() => ask(r), ms))
    } else {
      const s = (r as Sub | undefined) ?? serving(p._id as number)
      if (s?._id !== p._id) return
      byId.delete(s._id)
      s._id = 0
      if (!error.retryable) return c._refuse(s, error)
      s._idle(c._pos)
      s._retry = c._clock._setTimeout(() => {
        s._retry = 0
        c._join(s)
      }, (error.retryAfter ?? 0) + backoff(s._refusals++, c))
    }
  }

  const link: Session = { _join: join, _leave: leave, _wake: wake, _receive: receive, _fill: fill, _detach: detach }
  return link
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((n, b) => n + b.length, 0))
  let at = 0
  for (const b of parts) {
    all.set(b, at)
    at += b.length
  }
  return all
}

/** sizeOf is what a message takes in memory, about: in bytes, without what any event takes. */
function sizeOf(m: MessagePacket): number {
  return m.payload.length + m.topic.length + JSON.stringify(m.headers ?? '').length
}

/** errorOf is an error as the broker says it. */
export function errorOf({ _code, _name, _detail, hint, retry_after, after }: Partial<Omit<ErrorPacket, 'is'> & Omit<Disconnect, 'is'>>, number = _code): CarillonError {
  return new CarillonError(_name as string, _detail, { number, hint, retryAfter: retry_after ?? after })
}
