import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Status } from '../src/client.js'
import { connect } from '../src/http.js'
import { quiet, record, settled, token } from './fake.js'
import { cursor, event, FakeHttp, id, polled, said } from './fakehttp.js'

const path = '/v1/subscribe'

test('where no byte of a stream comes through for 4 s, it is polled', async () => {
  const b = new FakeHttp()
  const c = b.client()
  const seen = record(c.subscribe('a.*'))
  await settled()
  await b.ws.sockets.shift()!.drop()
  await b.start(5)
  const r = await b.take(path)
  await r.open()
  await b.clock.advance(4_000)
  assert.ok(r.aborted)
  assert.deepEqual(b.ws.statuses.map((s) => (s as Status).transport), ['poll'], 'nothing came as a stream')
  const poll = await b.take(path)
  assert.deepEqual(poll.query, { mode: 'poll', after: cursor(5), wait: '25s', filter: ['a.*'] })
  await poll.json({ messages: [polled(6, 'a.b'), polled(7, 'a.b')], cursor: cursor(9) })
  assert.deepEqual(seen, ['snapshot', 'live', 6, 7])
  assert.equal(c.transport, 'poll')
  assert.deepEqual((await b.take(path)).query, { mode: 'poll', after: cursor(9), wait: '25s', filter: ['a.*'] })
})

test('a stream that ends before its first byte is polled as well', async () => {
  const b = new FakeHttp()
  const c = b.client()
  record(c.subscribe('a'))
  await settled()
  await b.ws.sockets.shift()!.drop()
  await b.start(5)
  await (await b.take(path)).fail()
  assert.equal((await b.take(path)).url.searchParams.get('mode'), 'poll')
})

test('the answer to a poll tells a gap between what came before and what is sent again', async () => {
  const b = new FakeHttp()
  const c = b.client('poll')
  const seen = record(c.subscribe('a.*'))
  await b.start(5)
  const poll = await b.take(path)
  await poll.json({
    messages: [polled(6, 'a.b'), { topic: 'a.b', data: 'kept', retained: true, ts: 1 }],
    gap: { reason: 'trimmed', count: 3, from: cursor(6), to: cursor(9) },
    reset: ['a.*'],
    cursor: cursor(9),
  })
  assert.deepEqual(seen, ['snapshot', 'live', 6, { gap: 'trimmed', count: 3 }, { retained: 'kept' }, 'reset'])
})

test('a poll that is under way is given up for a new subscription', async () => {
  const b = new FakeHttp()
  const c = b.client('poll')
  record(c.subscribe('a'))
  await b.start(5)
  const poll = await b.take(path)
  const added = record(c.subscribe('b'))
  assert.deepEqual(await b.start(6), { mode: 'poll', filter: ['b'] })
  assert.ok(poll.aborted)
  assert.deepEqual((await b.take(path)).query, { mode: 'poll', after: cursor(5), wait: '25s', filter: ['a', 'b'] })
  assert.deepEqual(added, ['snapshot', 'live'])
})

test('a poll without an answer is given up, and the session with it', async () => {
  const b = new FakeHttp()
  const c = b.client('poll')
  record(c.subscribe('a'))
  await b.start(5)
  await b.take(path)
  await b.clock.advance(50_000)
  assert.deepEqual([c.status.state, c.status.error?.message], ['reconnecting', 'connection: no answer in time'])
  await b.clock.advance(250)
  const again = await b.take(path)
  assert.deepEqual(again.query, { mode: 'poll', after: cursor(5), wait: '1s', filter: ['a'] })
})

test('a way that works is remembered, and WebSocket is tried again at a reconnect after 5 minutes', async () => {
  const b = new FakeHttp()
  const c = b.client()
  record(c.subscribe('a'))
  await settled()
  await b.ws.sockets.shift()!.drop()
  await b.start(5)
  const r = await b.take(path)
  await r.open(id(5), event('live', {}, cursor(5)))
  assert.equal(c.transport, 'sse')
  await r.end()
  await b.clock.advance(250)
  assert.equal(b.ws.sockets.length, 0)
  const again = await b.take(path)
  await again.open(id(5), event('live', {}, cursor(5)))
  for (let i = 0; i < 20; i++) {
    await b.clock.advance(15_000)
    await again.send(id(5))
  }
  await again.end()
  await b.clock.advance(250)
  const socket = await b.ws.accept([2, 's', token(5), 0])
  socket.take(1)
  assert.deepEqual(socket.take(3)[3], { position: token(5) })
  assert.equal(c.transport, 'websocket')
})

test('a WebSocket that gives no session within 4 s is given up for HTTP', async () => {
  const b = new FakeHttp()
  const c = b.client()
  record(c.subscribe('a'))
  await settled()
  await b.ws.sockets.shift()!.open()
  await b.clock.advance(4_000)
  await b.start(1)
  await (await b.take(path)).open(id(1))
  assert.equal(c.transport, 'sse')
})

test('a refusal over WebSocket is no reason to go over HTTP', async () => {
  const b = new FakeHttp()
  const c = b.client()
  await (await b.ws.accept(null)).packets([24, 4204, 'token_wrong_audience', '', { reconnect: false }])
  assert.equal(c.status.state, 'closed')
  assert.equal(b.requests.length, 0)
})

test('a broker that is away for a moment is no reason to leave a WebSocket that works', async () => {
  const b = new FakeHttp()
  b.client()
  await (await b.ws.accept()).drop()
  for (let i = 0; i < 2; i++) {
    await b.clock.advance((b.ws.statuses.at(-1) as Status).retryIn!)
    await b.ws.sockets.shift()!.drop()
    assert.equal(b.requests.length, 0)
  }
  await b.clock.advance((b.ws.statuses.at(-1) as Status).retryIn!)
  await b.ws.sockets.shift()!.drop()
  await b.take('/v1/publish', 'OPTIONS')
})

test('a subscription goes from WebSocket to HTTP with its position', async () => {
  const b = new FakeHttp()
  const c = b.client()
  const seen = record(c.subscribe('a', { retained: false }))
  const socket = await b.ws.accept()
  await socket.packets([4, 1, token(0)], [9, 3, 0, 'a', Uint8Array.of(1), 1])
  await socket.drop()
  for (let i = 0; i < 3; i++) {
    await b.clock.advance((b.ws.statuses.at(-1) as Status).retryIn!)
    await b.ws.sockets.shift()!.drop()
  }
  const r = await b.take(path)
  assert.deepEqual(r.query, { after: cursor(3), filter: ['a'], retained: 'false' })
  await r.open(id(3), said(4, 'a'), event('live', {}, cursor(4)))
  assert.deepEqual(seen, [1, 4, 'live'])
})

test('a publish that was sent by WebSocket is not repeated over HTTP', async () => {
  const b = new FakeHttp()
  const c = b.client()
  const socket = await b.ws.accept()
  const lost = quiet(c.publish('a', 1))
  await settled()
  assert.equal(socket.sent.at(-1)?.[0], 7)
  await socket.drop()
  while (!b.requests.length) {
    await b.clock.advance(100)
    await b.ws.sockets.shift()?.drop()
  }
  const later = c.publish('a', 2)
  await (await b.take('/v1/publish', 'OPTIONS')).json(null, 204)
  await assert.rejects(lost, { code: 'unknown_outcome' })
  await (await b.take('/v1/publish', 'POST')).json({ seq: 1, offset: 0, durability: 'appended', cursor: cursor(1) })
  assert.equal((await later).seq, 1)
})

test('a transport that there is not is refused', () => {
  assert.throws(() => connect('ws://broker', { transport: 'carrier pigeon' as never }), TypeError)
})

test('every request over HTTP sends cookies as it is told to, and without a token no other credentials', async () => {
  for (const [transport, credentials] of [
    ['sse', undefined],
    ['sse', 'include'],
    ['poll', 'include'],
    ['poll', 'omit'],
  ] as const) {
    const b = new FakeHttp()
    const c = b.client(transport, { credentials })
    record(c.subscribe('a.*'))
    const first = await b.take(path)
    await first.json({ messages: [], cursor: cursor(5) })
    const stream = await b.take(path) // or the first poll
    if (transport === 'sse') await stream.open(id(5))
    else await stream.json({ messages: [], cursor: cursor(5) })
    const publish = c.publish('a.b', 1)
    await settled()
    if (transport === 'poll') await b.take(path)
    const post = await b.take('/v1/publish', 'POST')
    for (const r of [first, stream, post]) {
      assert.deepEqual([r.init.credentials, r.headers['authorization']], [credentials ?? 'same-origin', undefined])
    }
    await post.json({ seq: 1, offset: 0, durability: 'appended', cursor: cursor(1), topic: 'a.b', epoch: 'e' })
    await publish
    await c.close()
  }
})

test('a stream that cannot be asked for is no connection: what is published waits, and the way that works is kept', async () => {
  const b = new FakeHttp()
  const c = b.client()
  record(c.subscribe('a'))
  await settled()
  await b.ws.sockets.shift()!.drop()
  await b.start(5)
  const stream = await (await b.take(path)).open(id(5), event('live', {}, cursor(5)))
  await stream.end()
  const published = quiet(c.publish('b', 1))
  for (const wait of [250, 500]) {
    await b.clock.advance(wait)
    await (await b.take(path)).fail()
    const poll = await b.take(path)
    assert.equal(poll.url.searchParams.get('wait'), '1s', 'it is soon known whether that comes through')
    await poll.fail()
    assert.equal(c.status.state, 'reconnecting')
    assert.equal(b.requests.length, 0, 'nothing is posted')
  }
  await b.clock.advance(1_000)
  const again = await b.take(path)
  assert.equal(again.url.searchParams.get('mode'), null)
  await again.open(id(5))
  await (await b.take('/v1/publish', 'POST')).json({ seq: 6, offset: 0, durability: 'appended' })
  assert.equal((await published).seq, 6)
  assert.deepEqual(b.ws.statuses.map((s) => (s as Status).transport ?? '-'), ['sse', '-', '-', '-', 'sse'])
})
