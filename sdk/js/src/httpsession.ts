import type { ClientImpl, Link } from './client.js'
import { CarillonError, lost, refused } from './errors.js'
import { type Answer, ask, contentOf, type Problem, refusalOf, request, type Wire, type WireGap } from './httpapi.js'
import { inTime } from './intime.js'
import { deliverable, type Event } from './message.js'
import type { FetchAnswer, FetchInit, Transport } from './options.js'
import { cursorOf, parseCursor, type Position } from './position.js'
import { readEvents } from './sse.js'
import { Phase } from './stream.js'
import { allOf, type Slow, type Sub } from './subscription.js'
import { match } from './topic.js'

/** How long the first byte of a stream may take before it is taken to be held back on its way, in milliseconds. */
const patience = 4_000
/** How long nothing may come of a stream, in which something comes every 15 s. */
const silence = 25_000
/** How long the whole of any other answer may take. */
const whole = 50_000
const wait = 25
/** How long the beginning of any answer may take beyond its wait: all connections to the host may be in use. */
const answer = 10_000

/** Why a request is given up that is to be made again. */
const poked = {}

/**
 * HttpSession serves the client over HTTP: one stream, or one poll after the other, for all subscriptions, opened again when these
 * change, and a request for each publish.
 *
 * There is one position for all of them. A subscription without one is started by a poll of its own, which answers with the
 * retained values and the position these are of; then the stream is opened at the lowest position of all, and the others skip what they
 * have had.
 */
export class HttpSession implements Link {
  /** Whom the stream, or the poll, under way is for. */
  private _members: Sub[] = []
  private _request = new AbortController()
  private readonly _over = new AbortController()
  private _posting?: boolean
  /** It can be opened again without losing what is under way. */
  private _live?: boolean
  private _changed?: boolean
  private _poked: (() => void) | undefined

  constructor(
    private readonly _c: ClientImpl,
    private readonly _token: string,
    private _way: Transport,
    private readonly _mayPoll: boolean,
    private readonly _works: (way: Transport) => void,
  ) {}

  /** _run serves until something fails, or the session is stopped. */
  async _run(): Promise<void> {
    const c = this._c
    while (!this._over.signal.aborted) {
      this._changed = this._live = false
      this._request = new AbortController()
      const subs = c._subs.filter((s) => s._phase === Phase.Idle && !s._in._parked)
      try {
        if (subs.length) await this._serve(subs)
        else {
          if (c._link !== this) await this._fetch('v1/publish', { method: 'OPTIONS' })
          this._attach()
          await new Promise<void>((resolve) => (this._poked = resolve))
        }
      } catch (error) {
        const { aborted, reason } = this._request.signal
        if (refused(error) === 4400) await this._sift(subs, error as CarillonError)
        else if (!aborted) throw error
        else if (reason !== poked) throw reason
      } finally {
        this._leaveAll()
      }
    }
  }

  /** _stop ends the session. */
  _stop(): void {
    this._over.abort()
    this._request.abort()
    this._leaveAll()
    if (this._c._link === this) this._c._detached()
  }

  _join(): void {
    this._poke()
  }

  _leave(s: Sub): void {
    s._idle(this._c._pos)
    if (this._members.includes(s)) this._poke()
    this._members = this._members.filter((other) => other !== s)
  }

  _wake(): void {
    if (this._posting) return
    this._posting = true
    void this._post()
  }

  /** _poke opens the stream again, soon, with the subscriptions that there are then. It first lets come what was missed. */
  private _poke(): void {
    if (this._changed) return
    this._changed = true
    queueMicrotask(() => {
      this._poked?.()
      if (this._live) this._request.abort(poked)
    })
  }

  /** _attach takes what is to be published, and says that the client is connected once it is known how. */
  private _attach(known = true): void {
    const c = this._c
    if (known) this._works(this._way)
    if (c._link === this && (!known || c.transport === this._way)) return
    if (known) c._attached(this, c._pos, { transport: this._way })
    else c._link = this
    if (c._queue.length) this._wake()
  }

  private _leaveAll(): void {
    for (const s of this._members.splice(0)) s._idle(this._c._pos, s._told)
  }

  private async _serve(subs: Sub[]): Promise<void> {
    const c = this._c
    // only positions of one run of the broker compare
    const epoch = subs.find((s) => s._own)?._own?.epoch
    for (const s of subs) if (s._own && s._own.epoch !== epoch) s._restart()
    const fresh = subs.filter((s) => !s._own)
    if (fresh.length) await this._start(fresh)
    const members = subs.filter((s) => s._phase !== Phase.Ended && !s._in._parked)
    if (!members.length) return
    // the seq of what comes from the store is that of the place from which the store is read: it tells nothing
    c._pos = members
      .map((s) => s._own as Position)
      .reduce((a, b) => ({ ...a, seq: Math.min(a.seq, b.seq), offset: Math.min(a.offset, b.offset) }))
    this._members = members
    for (const s of members) {
      s._id = ++c._nextId
      s._phase = Phase.Live
    }
    this._moved(c._pos)
    if (this._way === 'sse') await this._stream()
    else await this._poll()
  }

  /** _start begins subscriptions with the retained values, or the last messages, where the log is now. */
  private async _start(fresh: Sub[]): Promise<void> {
    const a = await this._ask({}, fresh)
    const at = parseCursor(a.cursor)
    this._attach(this._way === 'poll')
    const last = await Promise.all(fresh.map((s) => this._last(s, at)))
    this._members = fresh.filter((s) => s._phase !== Phase.Ended)
    for (const s of this._members) {
      s._id = ++this._c._nextId
      s._force(s._subscribed(at, at))
      for (const e of last[fresh.indexOf(s)] as Event[]) s._force(e)
    }
    await this._answer(a)
    for (const s of this._members) {
      if (s._awaiting) s._force(s._retainedEnd(false, at))
      s._confirm()
      s._force(s._resumed(at))
    }
    this._leaveAll()
  }

  /** _last is what a subscription asks for as last: up to a position, and of what the store keeps; a gap if it keeps none of it. */
  private async _last(s: Sub, at: Position): Promise<Event[]> {
    const { last } = s._options
    if (last === undefined) return []
    try {
      const { messages } = await this._c.history(s.filter, { last, signal: this._over.signal })
      return messages.filter((m) => parseCursor(m.cursor).offset <= at.offset)
    } catch (error) {
      if (!(error instanceof CarillonError) || error.retryable) throw error
      if (error.code === 'unsupported') return [s._gap('not_stored', undefined, at)]
      this._c._refuse(s, error)
      return []
    }
  }

  /** _poll asks for what comes, again and again. */
  private async _poll(): Promise<void> {
    this._live = true
    while (!this._changed) {
      const a = await this._ask({ after: cursorOf(this._c._pos), wait: this._members.every((s) => s._told) ? `${wait}s` : '1s' }, this._members, wait)
      this._attach()
      await this._answer(a)
      if (JSON.stringify(a.messages).length < 1e5) await this._caughtUp()
    }
  }

  private _ask(query: Record<string, string>, subs: Sub[], wait = 0): Promise<Answer> {
    return inTime(this._c._clock, whole, this._subscribe({ mode: 'poll', ...query }, subs, wait).then((r) => r.json()))
  }

  /** _answer takes the answer to a poll: what came before the gap, the gap, and what is sent again after it. */
  private async _answer(a: Answer): Promise<void> {
    for (const m of a.messages) if (!m.retained) await this._message(m, m.id)
    if (a.gap) await this._gap(a.gap)
    for (const m of a.messages) if (m.retained) await this._message(m)
    for (const filter of a.reset ?? []) this._retained(filter, true)
    this._moved(parseCursor(a.cursor))
  }

  /** _stream reads server-sent events. When nothing of them comes through, the next ones are polled. */
  private async _stream(): Promise<void> {
    const { _clock: clock } = this._c
    const request = this._request
    let came = false
    let timer = clock.setTimeout(() => request.abort(), patience)
    const heard = () => {
      clock.clearTimeout(timer)
      timer = clock.setTimeout(() => request.abort(lost('nothing came for too long')), silence)
      if (!came) this._attach()
      came = true
    }
    try {
      const { body } = await this._subscribe({ after: cursorOf(this._c._pos) }, this._members)
      if (body) {
        for await (const e of readEvents(body, heard)) {
          const slow = this._event(e['event'], e['data'] && JSON.parse(e['data']), e['id'])
          if (slow) await slow
          if (this._changed && this._live) return request.abort(poked)
        }
      }
      if (came) throw lost('the stream ended')
    } catch (error) {
      if (refused(error) || came) throw error
    } finally {
      clock.clearTimeout(timer)
    }
    if (this._changed || this._over.signal.aborted) return
    if (!this._mayPoll) throw lost('nothing came for too long')
    this._way = 'poll'
    this._attach()
  }

  private _event(event: string | undefined, data: unknown, id?: string): Slow {
    switch (event) {
      case 'message':
        return this._message(data as Wire, id)
      case 'gap':
        return this._gap(data as WireGap, id)
      case 'retained': {
        const { filter, reset } = data as { filter: string; reset: boolean }
        this._retained(filter, reset)
        break
      }
      case 'end': {
        const p = data as Problem
        throw refusalOf(p, p.reconnect ? 4000 : 4200)
      }
    }
    if (id) this._moved(parseCursor(id))
    return event === 'live' ? this._caughtUp() : undefined
  }

  /** _caughtUp says that what comes next is live. */
  private _caughtUp(): Slow {
    this._live = true
    const at = this._c._pos as Position
    return allOf(
      this._members.map((s) => {
        const e = s._resumed(at)
        s._shared = true
        s._confirm()
        return e && s._accept(this, e, at)
      }),
    )
  }

  /** _moved takes the position up to which everything has come. */
  private _moved(at: Position): void {
    this._c._pos = at
    for (const s of this._members) {
      const own = s._own as Position
      s._shared ||= own.epoch !== at.epoch || at.seq > own.seq || (at.seq === own.seq && at.offset >= own.offset)
      if (!s._shared) s._own = { ...own, offset: Math.max(own.offset, at.offset) }
    }
  }

  private _message(m: Wire, id?: string): Slow {
    const c = this._c
    const { retained = false } = m
    const content = contentOf(m)
    const size = m.data_base64?.length ?? JSON.stringify(m.data).length
    const at = id ? parseCursor(id) : undefined
    const due = (own: Position | undefined) => !at || own?.epoch !== at.epoch || at.seq > own.seq || at.offset > own.offset
    const targets = this._members.filter((s) => match(s.filter, m.topic) && (retained ? s._awaiting : s._shared || due(s._own))).map((s) => [s, s._position(c._pos)] as const)
    if (at) this._moved(at)
    return allOf(
      targets.map(([s, before]) => {
        const e = deliverable(content, retained, s._resumeAt(s._position(c._pos)))
        const taken = () => s._took('', 0)
        if (!retained) return s._accept(this, e, before, taken, size)
        s._force(e, size)
        return taken() as undefined
      }),
    )
  }

  private _retained(filter: string, reset: boolean): void {
    for (const s of this._members) if (s.filter === filter && s._awaiting) s._force(s._retainedEnd(reset, this._c._pos as Position))
  }

  private _gap(g: WireGap, id?: string): Slow {
    const before = this._c._pos
    if (id) this._moved(parseCursor(id))
    const from = g.from ? parseCursor(g.from) : before
    const to = parseCursor(g.to)
    return allOf(
      this._members.map((s) =>
        s._accept(this, s._gap(g.reason, from, to, g.count), before, () => s._gapped({ reason: g.reason, to })),
      ),
    )
  }

  /** _sift finds out which subscription the broker refuses: it admits all of a request, or none. */
  private async _sift(subs: Sub[], why: CarillonError): Promise<void> {
    const c = this._c
    let found = false
    for (const s of subs.length > 1 ? subs : []) {
      this._request = new AbortController()
      try {
        await this._ask({ retained: 'false' }, [s])
      } catch (error) {
        if (refused(error) !== 4400) throw error
        c._refuse(s, error as CarillonError)
        found = true
      }
    }
    if (!found) c._refuse(subs.at(-1) as Sub, why)
  }

  private _subscribe(query: Record<string, string>, subs: Sub[], wait = 0): Promise<FetchAnswer> {
    const q = new URLSearchParams(query)
    for (const filter of new Set(subs.map((s) => s.filter))) q.append('filter', filter)
    if (!subs.some((s) => s._wantsRetained)) q.set('retained', 'false')
    return this._fetch(`v1/subscribe?${q}`, {}, answer + wait * 1000)
  }

  private _fetch(path: string, init: FetchInit, ms = answer): Promise<FetchAnswer> {
    const c = this._c
    return inTime(c._clock, ms, request(c, this._token, path, { ...init, signal: this._request.signal }))
  }

  /** _post makes the requests in the queue, one after the other, so that the order is kept. */
  private async _post(): Promise<void> {
    const { signal } = this._over
    this._c._weed('')
    for (let p; !signal.aborted && (p = this._c._queue.shift()); ) await ask(this._c, this._token, p, signal)
    this._posting = false
  }
}
