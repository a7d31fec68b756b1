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
const again = {}

/** HttpSession serves the client over HTTP until it ends. */
export interface HttpSession extends Link {
  /** _run serves until something fails, or the session is stopped. */
  _run(): Promise<void>
  /** _stop ends the session. */
  _stop(): void
}

/**
 * newHttpSession makes a session over HTTP: one stream, or one poll after the other, for all subscriptions, opened again when these
 * change, and a request for each publish.
 *
 * There is one position for all of them. A subscription without one is started by a poll of its own, which answers with the
 * retained values and the position these are of; then the stream is opened at the lowest position of all, and the others skip what they
 * have had.
 */
export function newHttpSession(c: ClientImpl, token: string, way: Transport, mayPoll: boolean, works: (way: Transport) => void): HttpSession {
  /** Whom the stream, or the poll, under way is for. */
  let members: Sub[] = []
  let sending = new AbortController()
  const over = new AbortController()
  let posting = false
  /** It can be opened again without losing what is under way. */
  let live = false
  let changed = false
  /** Lets it go on when nobody is subscribed. */
  let poked: (() => void) | undefined

  /** run serves until something fails, or the session is stopped. */
  const run = async (): Promise<void> => {
    while (!over.signal.aborted) {
      changed = live = false
      sending = new AbortController()
      for (const s of c._subs.filter((s) => s._options.join)) c._refuse(s, new CarillonError('unsupported'))
      const subs = c._subs.filter((s) => s._phase === Phase.Idle && !s._in._parked)
      try {
        if (subs.length) await serve(subs)
        else {
          if (c._link !== link) await send('v1/publish', { method: 'OPTIONS' })
          attach()
          await new Promise<void>((resolve) => (poked = resolve))
        }
      } catch (error) {
        const { aborted, reason } = sending.signal
        if (refused(error) === 4400) await sift(subs, error as CarillonError)
        else if (!aborted) throw error
        else if (reason !== again) throw reason
      } finally {
        leaveAll()
      }
    }
  }

  /** stop ends the session. */
  const stop = (): void => {
    over.abort()
    sending.abort()
    leaveAll()
    if (c._link === link) c._detached()
  }

  /** idle takes s off the wire. A snapshot that it awaits comes again with the gap before it: its position is from before that. */
  const idle = (s: Sub, told?: boolean): void => {
    s._idle(c._pos, told)
    s._awaiting = false
  }

  const leave = (s: Sub): void => {
    idle(s)
    if (members.includes(s)) poke()
    members = members.filter((other) => other !== s)
  }

  const wake = (): void => {
    if (posting) return
    posting = true
    void post()
  }

  /** poke opens the stream again, soon, with the subscriptions that there are then. It first lets come what was missed. */
  const poke = (): void => {
    if (changed) return
    changed = true
    queueMicrotask(() => {
      poked?.()
      if (live) sending.abort(again)
    })
  }

  /** attach takes what is to be published, and says that the client is connected once it is known how. */
  const attach = (known = true): void => {
    if (known) works(way)
    if (c._link === link && (!known || c.transport === way)) return
    if (known) c._attached(link, c._pos, { transport: way })
    else c._link = link
    wake()
  }

  const leaveAll = (): void => {
    for (const s of members.splice(0)) idle(s, s._told)
  }

  const serve = async (subs: Sub[]): Promise<void> => {
    // only positions of one run of the broker compare, and a snapshot cannot be asked for again: these start afresh, and tell a gap
    const epoch = subs.find((s) => s._own)?._own?._epoch
    for (const s of subs) {
      if (s._own && (s._awaiting || s._own._epoch !== epoch)) {
        s._restarted = s._own
        s._own = undefined
      }
    }
    const fresh = subs.filter((s) => !s._own)
    if (fresh.length) await start(fresh)
    const served = subs.filter((s) => s._phase !== Phase.Ended && !s._in._parked)
    if (!served.length) return
    // the seq of what comes from the store is that of the place from which the store is read: it tells nothing
    c._pos = served
      .map((s) => s._own as Position)
      .reduce((a, b) => ({ ...a, _seq: Math.min(a._seq, b._seq), _offset: Math.min(a._offset, b._offset) }))
    members = served
    for (const s of members) {
      s._id = ++c._nextId
      s._phase = Phase.Live
    }
    moved(c._pos)
    if (way === 'sse') await stream()
    else await polling()
  }

  /** start begins subscriptions with the retained values, or the last messages, where the log is now. */
  const start = async (fresh: Sub[]): Promise<void> => {
    const a = await asking({}, fresh)
    const at = parseCursor(a.cursor)
    attach(way === 'poll')
    const last = await Promise.all(fresh.map((s) => lastOf(s, at)))
    members = fresh.filter((s) => s._phase !== Phase.Ended)
    for (const s of members) {
      s._id = ++c._nextId
      s._force(s._subscribed(at, at))
      for (const e of last[fresh.indexOf(s)] as Event[]) s._force(e)
    }
    await take(a)
    for (const s of members) {
      if (s._awaiting) s._force(s._retainedEnd(false, at))
      s._confirm()
      s._force(s._resumed(at))
    }
    leaveAll()
  }

  /** lastOf is what a subscription asks for as last: up to a position, and of what the store keeps; a gap if it keeps none of it. */
  const lastOf = async (s: Sub, at: Position): Promise<Event[]> => {
    const { last } = s._options
    if (last === undefined) return []
    try {
      const { messages } = await c.history(s.filter, { last, signal: over.signal })
      return messages.filter((m) => parseCursor(m.cursor)._offset <= at._offset)
    } catch (error) {
      if (!(error instanceof CarillonError) || error.retryable) throw error
      if (error.code === 'unsupported') return [s._gap('not_stored', undefined, at)]
      c._refuse(s, error)
      return []
    }
  }

  /** polling asks for what comes, again and again. */
  const polling = async (): Promise<void> => {
    live = true
    while (!changed) {
      const a = await asking({ after: cursorOf(c._pos), wait: members.every((s) => s._told) ? `${wait}s` : '1s' }, members, wait)
      attach()
      await take(a)
      if (JSON.stringify(a.messages).length < 1e5) await caughtUp()
    }
  }

  const asking = (query: Record<string, string>, subs: Sub[], wait = 0): Promise<Answer> =>
    inTime(c._clock, whole, subscribe({ mode: 'poll', ...query }, subs, wait).then((r) => r.json()))

  /** take takes the answer to a poll: what came before the gap, the gap, and what is sent again after it. */
  const take = async (a: Answer): Promise<void> => {
    for (const m of a.messages) if (!m.retained) await message(m, m.id)
    if (a.gap) await gap(a.gap)
    for (const m of a.messages) if (m.retained) await message(m)
    for (const filter of a.reset ?? []) snapshot(filter, true)
    moved(parseCursor(a.cursor))
  }

  /** stream reads server-sent events. When nothing of them comes through, the next ones are polled. */
  const stream = async (): Promise<void> => {
    const { _clock: clock } = c
    const request = sending
    let came = false
    let timer = clock._setTimeout(() => request.abort(), patience)
    const heard = () => {
      clock._clearTimeout(timer)
      timer = clock._setTimeout(() => request.abort(lost('silence')), silence)
      if (!came) attach()
      came = true
    }
    try {
      const { body } = await subscribe({ after: cursorOf(c._pos) }, members)
      if (body) {
        for await (const e of readEvents(body, heard)) {
          const slow = event(e['event'], e['data'] && JSON.parse(e['data']), e['id'])
          if (slow) await slow
          if (changed && live) return request.abort(again)
        }
      }
      if (came) throw lost('end')
    } catch (error) {
      if (refused(error) || came) throw error
    } finally {
      clock._clearTimeout(timer)
    }
    if (changed || over.signal.aborted) return
    if (!mayPoll) throw lost('silence')
    way = 'poll'
    if (c._link === link) attach() // else it is known when a poll is answered
  }

  const event = (event: string | undefined, data: unknown, id?: string): Slow => {
    switch (event) {
      case 'message':
        return message(data as Wire, id)
      case 'gap':
        return gap(data as WireGap, id)
      case 'retained': {
        const { filter, reset } = data as { filter: string; reset: boolean }
        snapshot(filter, reset)
        break
      }
      case 'end': {
        const p = data as Problem
        throw refusalOf(p, p.reconnect ? 4000 : 4200)
      }
    }
    if (id) moved(parseCursor(id))
    return event === 'live' ? caughtUp() : undefined
  }

  /** caughtUp says that what comes next is live. */
  const caughtUp = (): Slow => {
    live = true
    const at = c._pos as Position
    return allOf(
      members.map((s) => {
        const e = s._resumed(at)
        s._shared = true
        s._confirm()
        return e && s._accept(link, e, at)
      }),
    )
  }

  /** moved takes the position up to which everything has come. */
  const moved = (at: Position): void => {
    c._pos = at
    for (const s of members) {
      const own = s._own as Position
      s._shared ||= own._epoch !== at._epoch || at._seq > own._seq || (at._seq === own._seq && at._offset >= own._offset)
      if (!s._shared) s._own = { ...own, _offset: Math.max(own._offset, at._offset) }
    }
  }

  const message = (m: Wire, id?: string): Slow => {
    const { retained = false } = m
    const content = contentOf(m)
    const size = m.data_base64?.length ?? JSON.stringify(m.data).length
    const at = id ? parseCursor(id) : undefined
    const due = (own: Position | undefined) => !at || own?._epoch !== at._epoch || at._seq > own._seq || at._offset > own._offset
    const targets = members.filter((s) => match(s.filter, m.topic) && (retained ? s._awaiting : s._shared || due(s._own))).map((s) => [s, s._position(c._pos)] as const)
    if (at) moved(at)
    return allOf(
      targets.map(([s, before]) => {
        const e = deliverable(content, retained, s._resumeAt(s._position(c._pos)))
        const taken = () => s._took('', 0)
        if (!retained) return s._accept(link, e, before, taken, size)
        s._force(e, size)
        return taken() as undefined
      }),
    )
  }

  const snapshot = (filter: string, reset: boolean): void => {
    for (const s of members) if (s.filter === filter && s._awaiting) s._force(s._retainedEnd(reset, c._pos as Position))
  }

  const gap = (g: WireGap, id?: string): Slow => {
    const before = c._pos
    if (id) moved(parseCursor(id))
    const from = g.from ? parseCursor(g.from) : before
    const to = parseCursor(g.to)
    return allOf(
      members.map((s) =>
        s._accept(link, s._gap(g.reason, from, to, g.count), before, () => s._gapped({ _reason: g.reason, _to: to })),
      ),
    )
  }

  /** sift finds out which subscription the broker refuses: it admits all of a request, or none. */
  const sift = async (subs: Sub[], why: CarillonError): Promise<void> => {
    let found = false
    for (const s of subs.length > 1 ? subs : []) {
      sending = new AbortController()
      try {
        await asking({ retained: 'false' }, [s])
      } catch (error) {
        if (refused(error) !== 4400) throw error
        c._refuse(s, error as CarillonError)
        found = true
      }
    }
    if (!found) c._refuse(subs.at(-1) as Sub, why)
  }

  const subscribe = (query: Record<string, string>, subs: Sub[], wait = 0): Promise<FetchAnswer> => {
    const q = new URLSearchParams({ ...query, origin: c.origin })
    for (const filter of new Set(subs.map((s) => s.filter))) q.append('filter', filter)
    if (!subs.some((s) => s._wantsRetained)) q.set('retained', 'false')
    return send(`v1/subscribe?${q}`, {}, answer + wait * 1000)
  }

  const send = (path: string, init: FetchInit, ms = answer): Promise<FetchAnswer> =>
    inTime(c._clock, ms, request(c, token, path, { ...init, signal: sending.signal }))

  /** post makes the requests in the queue, one after the other, so that the order is kept. */
  const post = async (): Promise<void> => {
    const { signal } = over
    c._weed('')
    for (let p; !signal.aborted && (p = c._queue.shift()); ) await ask(c, token, p, signal)
    posting = false
  }

  const link: HttpSession = { _join: poke, _leave: leave, _wake: wake, _run: run, _stop: stop }
  return link
}
