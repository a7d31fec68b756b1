import assert from 'node:assert/strict'
import { test } from 'node:test'

import { CarillonError } from '../src/errors.js'
import type { Status } from '../src/client.js'
import type { Message } from '../src/message.js'
import { epoch2, quiet, record, settled } from './fake.js'
import { cursor, event, FakeHttp, id, said } from './fakehttp.js'

const code = (want: string) => (error: unknown) => error instanceof CarillonError && error.code === want
const problem = (name: string, more: object = {}) => ({ code: name, detail: 'd', hint: 'h', ...more })
const path = '/v1/subscribe'

/** streaming is a client with a subscription to "a.*" and its stream, live at seq 5. */
async function streaming(b: FakeHttp) {
  const c = b.client('sse')
  const s = c.subscribe('a.*')
  const seen = record(s)
  await b.start(5)
  const r = await b.take(path)
  await r.open('retry: 1000\n\n', id(5), event('live', {}, cursor(5)))
  seen.length = 0
  return { c, s, seen, r }
}

test('a subscription begins with the retained values and goes on as a stream', async () => {
  const b = new FakeHttp()
  const c = b.client('sse', { token: 'secret' })
  const s = c.subscribe('a.*')
  const seen = record(s)
  const start = await b.take(path)
  assert.deepEqual(start.query, { mode: 'poll', filter: ['a.*'] })
  assert.equal(start.headers['authorization'], 'Bearer secret')
  assert.ok(!start.url.href.includes('secret'))
  await start.json({ messages: [{ topic: 'a.b', data: 1, ts: 1, retained: true }], cursor: cursor(5) })
  await s.ready
  assert.deepEqual(seen, [{ retained: 1 }, 'snapshot', 'live'])
  const r = await b.take(path)
  assert.deepEqual(r.query, { after: cursor(5), filter: ['a.*'] })
  await r.open('retry: 1000\n\n', id(5), event('live', {}, cursor(5)), said(6, 'a.b'), said(7, 'b'), said(8, 'a.c'))
  assert.deepEqual(seen.slice(3), [6, 8])
  assert.deepEqual(b.ws.statuses, [{ state: 'connected', transport: 'sse' }])
})

test('a message over HTTP says what it says over WebSocket', async () => {
  const b = new FakeHttp()
  const { c } = await streaming(b)
  const got: unknown[] = []
  c.subscribe('a.*', (m: Message) => got.push([m.data, m.contentType, { ...m.headers }, m.retain, m.time, m.cursor]))
  await b.start(5)
  const r = await b.take(path)
  await r.open(
    id(5),
    event('live', {}, cursor(5)),
    event('message', { topic: 'a.b', data: { x: 1 }, headers: { k: 'v' }, retain: true, ts: 7 }, cursor(6)),
    event('message', { topic: 'a.b', data_base64: 'AQID', content_type: 'image/png', ts: 7 }, cursor(7)),
    event('message', { topic: 'a.b', data_base64: 'xAEB', ts: 7 }, cursor(8)),
    event('message', { topic: 'a.b', data: 'text', content_type: 'text/plain', ts: 7 }, cursor(9)),
    event('message', { topic: 'a.b', data_base64: '', ts: 7 }, cursor(10)),
    event('message', { topic: 'a.b', data: null, ts: 7 }),
  )
  assert.deepEqual(got, [
    [{ x: 1 }, '', { k: 'v' }, true, 7, cursor(6)],
    [Uint8Array.of(1, 2, 3), 'image/png', {}, false, 7, cursor(7)],
    [Uint8Array.of(1), '', {}, false, 7, cursor(8)],
    ['text', 'text/plain', {}, false, 7, cursor(9)],
    [undefined, '', {}, false, 7, cursor(10)],
    [null, '', {}, false, 7, cursor(10)],
  ])
})

test('events may be cut anywhere on their way', async () => {
  const b = new FakeHttp()
  const { seen, r } = await streaming(b)
  for (const byte of said(6, 'a.b', 'hé\n\n') + said(7, 'a.b')) await r.send(byte)
  assert.deepEqual(seen, ['hé\n\n', 7])
})

test('a cut stream is opened again behind the last cursor, an id alone included', async () => {
  const b = new FakeHttp()
  const { seen, r } = await streaming(b)
  await r.send(said(6, 'a.b'), id(9))
  await r.end()
  assert.equal((b.ws.statuses.at(-1) as Status).state, 'reconnecting')
  await b.clock.advance(250)
  const again = await b.take(path)
  assert.deepEqual(again.query, { after: cursor(9), filter: ['a.*'] })
  await again.open(id(9), said(10, 'a.b'), event('live', {}, cursor(10)), said(11, 'a.b'))
  assert.deepEqual(seen, [6, 10, 'live', 11])
})

test('a stream that is silent for 25 s is dead', async () => {
  const b = new FakeHttp()
  const { r } = await streaming(b)
  await b.clock.advance(24_000)
  await r.send(id(5))
  await b.clock.advance(24_999)
  assert.ok(!r.aborted)
  await b.clock.advance(1)
  assert.ok(r.aborted)
  assert.equal((b.ws.statuses.at(-1) as Status).error?.message, 'connection: silence')
})

test('after a restart of the broker there is one gap and the retained values again', async () => {
  const b = new FakeHttp()
  const { seen, r } = await streaming(b)
  await r.send(said(6, 'a.b'))
  await r.fail()
  await r.end()
  await b.clock.advance(250)
  const again = await b.take(path)
  const retained = { topic: 'a.b', data: 'kept', retained: true, ts: 1 }
  await again.open(
    'retry: 1000\n\n',
    event('gap', { reason: 'epoch', from: cursor(6), to: cursor(0, epoch2) }),
    event('message', retained),
    event('retained', { filter: 'a.*', reset: true }),
    event('live', {}, cursor(0, epoch2)),
  )
  await again.send(event('message', { topic: 'a.b', data: 'new', ts: 1 }, cursor(1, epoch2)))
  assert.deepEqual(seen, [6, { gap: 'epoch' }, { retained: 'kept' }, 'reset', 'live', 'new'])
})

test('a subscription that is added begins by itself; the others go on where they were, and nothing comes twice', async () => {
  const b = new FakeHttp()
  const { c, seen, r } = await streaming(b)
  await r.send(said(6, 'a.b'))
  const added = record(c.subscribe('>'))
  const start = await b.take(path)
  assert.ok(r.aborted)
  assert.deepEqual(start.query, { mode: 'poll', filter: ['>'] })
  await start.json({ messages: [], cursor: cursor(8) })
  const again = await b.take(path)
  assert.deepEqual(again.query, { after: cursor(6), filter: ['a.*', '>'] })
  await again.open(id(6), said(7, 'a.b'), said(8, 'a.b'), said(9, 'a.b'), event('live', {}, cursor(9)), said(10, 'b'))
  assert.deepEqual(seen, [6, 7, 8, 9])
  assert.deepEqual(added, ['snapshot', 'live', 9, 10])
})

test('the same filter twice is asked for once, and each begins with its own retained values', async () => {
  const b = new FakeHttp()
  const { c, seen } = await streaming(b)
  const twin = record(c.subscribe('a.*'))
  await b.start(7, [{ topic: 'a.b', data: 'kept', ts: 1, retained: true }])
  const r = await b.take(path)
  assert.deepEqual(r.query, { after: cursor(5), filter: ['a.*'] })
  await r.open(id(5), said(6, 'a.b'), event('live', {}, cursor(7)), said(8, 'a.b'))
  assert.deepEqual(seen, [6, 8])
  assert.deepEqual(twin, [{ retained: 'kept' }, 'snapshot', 'live', 8])
})

test('subscriptions of one moment are opened together, and one that ends is left out', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const one = c.subscribe('a')
  record(one)
  record(c.subscribe('b', { retained: false }))
  assert.deepEqual(await b.start(3), { mode: 'poll', filter: ['a', 'b'] })
  const r = await b.take(path)
  await r.open(id(3), event('live', {}, cursor(3)))
  one.close()
  const again = await b.take(path)
  assert.deepEqual(again.query, { after: cursor(3), filter: ['b'], retained: 'false' })
})

test('a stream that is catching up is not broken off for another subscription', async () => {
  const b = new FakeHttp()
  const { c, seen, r } = await streaming(b)
  await r.end()
  await b.clock.advance(250)
  const again = await b.take(path)
  await again.open(id(5), said(6, 'a.b'))
  c.subscribe('b')
  await settled()
  assert.ok(!again.aborted)
  await again.send(said(7, 'a.b'), event('live', {}, cursor(7)))
  assert.ok(again.aborted)
  assert.deepEqual(seen, [6, 7, 'live'])
  assert.deepEqual((await b.take(path)).query, { mode: 'poll', filter: ['b'] })
})

test('a slow application leaves the stream and comes back where it was; the others skip what they have had', async () => {
  const b = new FakeHttp()
  const c = b.client('sse', { buffer: { messages: 3 } })
  const slow = c.subscribe('a')
  const other = record(c.subscribe('b'))
  await b.start(1)
  const events = slow.events()
  for (const want of ['snapshot', 'live']) assert.equal((await events.next()).value?.type, want)
  const r = await b.take(path)
  await r.open(id(1), event('live', {}, cursor(1)), ...[2, 3, 4, 5].map((n) => said(n, 'a')), said(6, 'b'))
  await b.clock.advance(100)
  const without = await b.take(path)
  assert.deepEqual(without.query, { after: cursor(5), filter: ['b'] })
  await without.open(id(5), said(6, 'b'), event('live', {}, cursor(6)), said(7, 'b'))
  assert.deepEqual(other, ['snapshot', 'live', 6, 7])
  for (const want of [2, 3, 4]) assert.deepEqual((await events.next()).value, { ...(await peek(want)), cursor: cursor(want) })
  const back = await b.take(path)
  assert.deepEqual(back.query, { after: cursor(4), filter: ['a', 'b'] })
  await back.open(id(4), said(5, 'a'), said(6, 'b'), said(7, 'b'), event('live', {}, cursor(7)), said(8, 'b'), said(9, 'a'))
  const rest = []
  while (rest.length < 3) {
    const { value } = await events.next()
    rest.push(value?.type === 'message' ? value.data : value?.type)
  }
  assert.deepEqual(rest, [5, 'live', 9])
  assert.deepEqual(other, ['snapshot', 'live', 6, 7, 8])
})

async function peek(data: number): Promise<object> {
  return { type: 'message', topic: 'a', data, error: undefined, contentType: '', headers: Object.create(null), time: 1, retain: false, retained: false }
}

test('the end of a stream says whether and when to come back', async () => {
  const b = new FakeHttp()
  const { c, r } = await streaming(b)
  await r.send(event('end', { code: 'going_away', detail: 'restart', hint: '', reconnect: true, retry_after_ms: 3000 }))
  const status = b.ws.statuses.at(-1) as Status
  assert.deepEqual([status.state, status.retryIn, status.error?.code], ['reconnecting', 3000, 'going_away'])
  await b.clock.advance(3000)
  const again = await b.take(path)
  await again.open(id(5), event('end', { code: 'revoked', detail: 'by an operator', hint: '', reconnect: false }))
  assert.deepEqual([c.status.state, c.status.error?.code], ['closed', 'revoked'])
})

test('a token that expires is renewed, also when a publish finds out, which is then sent again', async () => {
  const b = new FakeHttp()
  const reasons: string[] = []
  const c = b.client('sse', { token: ({ reason }) => `t${reasons.push(reason)}` })
  await (await b.take('/v1/publish', 'OPTIONS')).json(null, 204)
  await c.ready
  const publish = c.publish('a', 1)
  const first = await b.take('/v1/publish', 'POST')
  assert.equal(first.headers['authorization'], 'Bearer t1')
  await first.json(problem('token_expired'), 401)
  await b.clock.advance(0)
  const probe = await b.take('/v1/publish', 'OPTIONS')
  await probe.json(null, 204)
  const second = await b.take('/v1/publish', 'POST')
  assert.equal(second.headers['authorization'], 'Bearer t2')
  await second.json({ seq: 1, offset: 0, durability: 'appended', cursor: cursor(1), topic: 'a', epoch: 'e' })
  assert.equal((await publish).cursor, cursor(1))
  assert.deepEqual(reasons, ['connect', 'token_expired'])
})

test('a token that is wrong ends the client with the reason', async () => {
  const b = new FakeHttp()
  const c = b.client('sse', { token: 'x' })
  record(c.subscribe('a'))
  await (await b.take(path)).json(problem('token_bad_signature'), 401)
  assert.deepEqual([c.status.state, c.status.error?.code, c.status.error?.hint], ['closed', 'token_bad_signature', 'h'])
})

test('of several subscriptions the one that is refused is found and ended, and the others begin', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const bad = c.subscribe('secret')
  const seen = record(bad)
  const good = record(c.subscribe('a'))
  await (await b.take(path)).json(problem('forbidden'), 403)
  const alone = await b.take(path)
  assert.deepEqual(alone.query, { mode: 'poll', retained: 'false', filter: ['secret'] })
  await alone.json(problem('forbidden'), 403)
  await (await b.take(path)).json({ messages: [], cursor: cursor(1) })
  assert.match(String(seen[0]), /forbidden/)
  assert.deepEqual(await b.start(1), { mode: 'poll', filter: ['a'] })
  assert.deepEqual(good, ['snapshot', 'live'])
})

test('when all are allowed alone and not together, the newest is refused', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  record(c.subscribe('a'))
  const seen = record(c.subscribe('b'))
  await (await b.take(path)).json(problem('subscription_limit'), 400)
  for (let i = 0; i < 2; i++) await b.start(1)
  assert.match(String(seen[0]), /subscription_limit/)
  assert.deepEqual(await b.start(1), { mode: 'poll', filter: ['a'] })
})

test('a refusal for now is tried again after the time it names', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  record(c.subscribe('a'))
  await (await b.take(path)).json(problem('not_ready'), 503, { 'retry-after': '2' })
  assert.equal((b.ws.statuses.at(-1) as Status).retryIn, 2000)
  assert.equal(c.status.error?.code, 'not_ready')
})

test('an answer of something in between is as good as none', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  record(c.subscribe('a'))
  await (await b.take(path)).json('<html>', 502)
  assert.deepEqual([c.status.state, c.status.error?.code], ['reconnecting', 'connection'])
})

test('publishes are posted one after the other', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const one = c.publish('a', { x: 1 }, { retain: true, headers: { k: 'v' }, receivers: true })
  const two = quiet(c.publish('a', new Uint8Array([255]), { contentType: 'image/png', id: 'mine' }))
  await (await b.take('/v1/publish', 'OPTIONS')).json(null, 204)
  const first = await b.take('/v1/publish', 'POST')
  const { id: mid, ...body } = first.body as { id: string }
  assert.match(mid, /^[\d-]{20,64}$/)
  assert.deepEqual(body, { topic: 'a', data_base64: 'gaF4AQ==', type: 'application/msgpack', retain: true, receivers: true, headers: { k: 'v' } })
  assert.equal(b.requests.length, 0)
  await first.json({ seq: 1, offset: 2, durability: 'committed', cursor: cursor(1), receivers: 4 })
  const ack = await one
  assert.deepEqual([ack.seq, ack.offset, ack.durability, ack.receivers, ack.duplicate], [1, 2, 'committed', 4, false])
  const second = await b.take('/v1/publish', 'POST')
  assert.deepEqual(second.body, { topic: 'a', data_base64: '/w==', type: 'image/png', id: 'mine' })
  await second.json(problem('too_large'), 413)
  await assert.rejects(two, (e: CarillonError) => e.code === 'too_large' && !e.retryable)
})

test('a publish whose answer does not come has an unknown outcome, and the session ends', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const one = quiet(c.publish('a', 1))
  const two = c.publish('a', 2)
  await (await b.take('/v1/publish', 'OPTIONS')).json(null, 204)
  await (await b.take('/v1/publish', 'POST')).fail()
  await assert.rejects(one, code('unknown_outcome'))
  assert.equal(c.status.state, 'reconnecting')
  await b.clock.advance(250)
  await (await b.take('/v1/publish', 'OPTIONS')).json(null, 204)
  await (await b.take('/v1/publish', 'POST')).json({ seq: 2, offset: 0, durability: 'appended', cursor: cursor(2) })
  assert.equal((await two).seq, 2)
})

test('close aborts everything that is under way', async () => {
  const b = new FakeHttp()
  const { c, seen, r } = await streaming(b)
  await c.close()
  await settled()
  assert.ok(r.aborted)
  assert.deepEqual(seen, ['end'])
  assert.equal(c.status.state, 'closed')
  assert.deepEqual(b.clock.pending(), [])
  assert.equal(b.requests.length, 0)
})

test('everything lies below the folder of the address', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  assert.equal(c._url.href, 'http://broker/ws')
  c._url.pathname = '/broker/ws'
  record(c.subscribe('a'))
  await b.take('/broker/v1/subscribe')
})

test('nothing over HTTP waits for ever when no connection to the host is free', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const probe = await b.take('/v1/publish', 'OPTIONS')
  await b.clock.advance(10_000)
  assert.ok(probe.aborted)
  assert.match((b.ws.statuses.at(-1) as Status).error!.message, /no answer in time/)
  await b.clock.advance(250)
  await (await b.take('/v1/publish', 'OPTIONS')).json(null, 204)
  const publish = c.publish('a', 1)
  quiet(publish)
  const r = await b.take('/v1/publish', 'POST')
  await b.clock.advance(15_000)
  await assert.rejects(publish, code('unknown_outcome'))
  assert.ok(r.aborted, 'it is not sent later')
  assert.equal(c.status.state, 'reconnecting')
  c.subscribe('a')
  await b.clock.advance(250)
  const start = await b.take(path)
  await b.clock.advance(10_000)
  assert.ok(start.aborted)
  assert.equal(c.status.state, 'reconnecting')
})

test('a client that is closed before its stream has begun asks for nothing more', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  c.subscribe('a.*')
  await b.start(5)
  await b.take(path)
  await c.close()
  await settled()
  assert.deepEqual(b.requests, [])
  assert.equal(c.status.state, 'closed')
  assert.deepEqual(b.clock.pending(), [])
})
