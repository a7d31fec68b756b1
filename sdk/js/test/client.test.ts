import assert from 'node:assert/strict'
import { test } from 'node:test'

import { CarillonError } from '../src/errors.js'
import type { Status } from '../src/client.js'
import { connect } from '../src/index.js'
import { msgpack } from '../src/writer.js'
import { epoch2, FakeBroker, message, record, settled, token } from './fake.js'

const code = (want: string) => (error: unknown) => error instanceof CarillonError && error.code === want

test('the token goes in Connect and never in the address', async () => {
  const b = new FakeBroker()
  const { socket } = { socket: await (b.client({ token: 'secret', name: 'shop/1', origin: 'tab-1' }), b.accept()) }
  assert.deepEqual(socket.take(1), [1, 1, 'secret', { client: 'shop/1', origin: 'tab-1' }])
  assert.equal(socket.url, 'ws://broker/ws')
  assert.equal(socket.asked, 'carillon.v1')
})

test('ready resolves with the first session, and the status tells who one is', async () => {
  const b = new FakeBroker()
  const c = b.client()
  assert.equal(c.status.state, 'connecting')
  await b.accept([2, 'abc', token(0), 25_000, { user: 'alice', limits: { payload: 10 } }])
  await c.ready
  assert.deepEqual(b.statuses, [{ state: 'connected', session: 'abc', user: 'alice', transport: 'websocket' }])
  assert.equal(c.transport, 'websocket')
  assert.deepEqual({ ...c.limits }, { payload: 10 })
})

test('a server of another subprotocol is none', async () => {
  const b = new FakeBroker()
  b.client()
  await settled()
  const socket = b.sockets.shift()!
  socket.protocol = ''
  await socket.open()
  assert.equal(socket.closed, 1000)
  assert.equal((b.statuses[0] as Status).error?.code, 'protocol')
})

test('attempts follow with full jitter between 0 and 0.5 s doubled up to 20 s', async () => {
  const b = new FakeBroker()
  b.client()
  for (const delay of [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
    await settled()
    await b.sockets.shift()!.drop()
    assert.equal((b.statuses.at(-1) as Status).retryIn, delay)
    await b.clock.advance(delay)
  }
})

test('after a session that lasted, the delays begin again', async () => {
  const b = new FakeBroker()
  b.client()
  for (let i = 0; i < 3; i++) {
    await settled()
    await b.sockets.shift()!.drop()
    await b.clock.advance((b.statuses.at(-1) as Status).retryIn!)
  }
  const socket = await b.accept()
  await b.clock.advance(5_000)
  await socket.drop()
  assert.equal((b.statuses.at(-1) as Status).retryIn, 250)
})

test('the advice of the server goes before the backoff', async () => {
  const b = new FakeBroker()
  const { socket } = await b.connected()
  await socket.packets([24, 4000, 'going_away', 'restart', { reconnect: true, after: 7_000 }])
  const status = b.statuses.at(-1) as Status
  assert.equal(status.state, 'reconnecting')
  assert.equal(status.retryIn, 7_000)
  assert.equal(status.error?.code, 'going_away')
})

for (const [name, end] of [
  ['a Disconnect for good', (s: Awaited<ReturnType<FakeBroker['accept']>>) => s.packets([24, 4213, 'revoked', 'by an operator', { reconnect: false }])],
  ['its close code alone', (s: Awaited<ReturnType<FakeBroker['accept']>>) => s.drop(4213, 'revoked')],
  ['a later code of the 42xx', (s: Awaited<ReturnType<FakeBroker['accept']>>) => s.packets([24, 4299, 'revoked', ''])],
] as const) {
  test(`${name} ends the client, its subscriptions and its publishes with the reason`, async () => {
    const b = new FakeBroker()
    const { c, socket } = await b.connected()
    const seen = record(c.subscribe('a'))
    const publish = c.publish('a', 1)
    void publish.catch(() => {})
    await settled()
    await end(socket)
    assert.equal(c.status.state, 'closed')
    assert.equal(c.status.error?.code, 'revoked')
    assert.match(String(seen.at(-1)), /^CarillonError: revoked/)
    await assert.rejects(publish, code('unknown_outcome'))
    await assert.rejects(c.publish('a', 1), code('revoked'))
    await b.clock.advance(60_000)
    assert.equal(b.sockets.length, 0)
  })
}

test('what comes over a close code of a table that allows it is a reconnect', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  await socket.drop(4002, 'no_pong')
  assert.equal(c.status.state, 'reconnecting')
  assert.equal(c.status.error?.code, 'no_pong')
})

test('a refusal before Connected is told by ready', async () => {
  const b = new FakeBroker()
  const c = b.client({ token: 'x' })
  const socket = await b.accept(null)
  await socket.packets([24, 4204, 'token_wrong_audience', 'aud is "shop"', { reconnect: false, hint: 'h' }])
  await assert.rejects(c.ready, (e: CarillonError) => e.code === 'token_wrong_audience' && e.hint === 'h' && e.detail === 'aud is "shop"' && !e.retryable)
})

test('a token that has expired is renewed at once, and again only after a delay', async () => {
  const b = new FakeBroker()
  const reasons: string[] = []
  b.client({ token: ({ reason }) => `t${reasons.push(reason)}` })
  for (const want of ['t1', 't2', 't3']) {
    const socket = await b.accept(null)
    assert.equal(socket.take(1)[2], want)
    await socket.packets([24, 4100, 'token_expired', ''])
    await b.clock.advance((b.statuses.at(-1) as Status).retryIn!)
  }
  assert.deepEqual(reasons, ['connect', 'token_expired', 'token_expired', 'token_expired'])
  assert.deepEqual(b.statuses.map((s) => (s as Status).retryIn), [0, 500, 1000])
})

test('a token of known expiry is not sent once more', async () => {
  const b = new FakeBroker()
  const reasons: string[] = []
  b.client({ token: ({ reason }) => `t${reasons.push(reason)}` })
  const hello = [2, 's', token(0), 0, { expires: b.clock._date() + 10_000 }]
  await (await b.accept(hello)).drop()
  await b.clock.advance(250)
  const second = await b.accept(hello)
  assert.equal(second.take(1)[2], 't1')
  await b.clock.advance(10_000)
  await second.drop()
  await b.clock.advance(250)
  assert.equal((await b.accept(hello)).take(1)[2], 't3', 'the fresh one that was never answered counts for nothing')
  assert.deepEqual(reasons, ['connect', 'expiring', 'expired'])
})

test('a token that cannot be fetched is asked for again', async () => {
  const b = new FakeBroker()
  let calls = 0
  b.client({
    token: async () => {
      if (++calls === 1) throw new Error('offline')
      return 'x'
    },
  })
  await settled()
  assert.equal((b.statuses[0] as Status).error?.code, 'connection')
  await b.clock.advance(250)
  assert.equal((await b.accept()).take(1)[2], 'x')
})

test('the signal of a token that is being fetched is aborted by close', async () => {
  const b = new FakeBroker()
  let signal: AbortSignal | undefined
  const c = b.client({ token: (r) => ((signal = r.signal), new Promise<string>(() => {})) })
  await settled()
  await c.close()
  assert.ok(signal?.aborted)
})

test('a connection that is silent for the ping interval and 10 s is dead', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  await b.clock.advance(34_000)
  await socket.packets([15, null])
  assert.deepEqual(socket.take(16), [16])
  await b.clock.advance(34_999)
  assert.equal(c.status.state, 'connected')
  await b.clock.advance(1)
  assert.equal(c.status.state, 'reconnecting')
  assert.ok(socket.terminated)
})

test('an attempt that gets no answer is given up', async () => {
  const b = new FakeBroker()
  b.client()
  const socket = await b.accept(null)
  await b.clock.advance(10_000)
  assert.ok(socket.terminated)
  assert.equal((b.statuses[0] as Status).state, 'reconnecting')
})

for (const [name, bytes] of [
  ['half a packet', Buffer.from('92', 'hex')],
  ['an array that lies about its length', Buffer.from('ddffffffff', 'hex')],
  ['a packet with a field missing', Buffer.from('9109', 'hex')],
  ['nothing', Buffer.alloc(0)],
] as const) {
  test(`${name} ends the connection, behind what came before it`, async () => {
    const b = new FakeBroker()
    const { c, socket } = await b.connected()
    const seen = record(c.subscribe('a', { retained: false }))
    await settled()
    await socket.packets([4, 1, token(0)])
    if (bytes.length) socket.raw(Buffer.concat([msgpack(message(1, 'a')), bytes]))
    else socket.raw(bytes)
    await settled()
    assert.deepEqual(seen, bytes.length ? [1] : [])
    assert.equal(c.status.state, 'reconnecting')
    assert.equal(c.status.error?.code, 'bad_packet')
  })
}

test('a text message ends the connection', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  socket.onmessage?.({ data: '[]' })
  await settled()
  assert.equal(c.status.error?.code, 'protocol')
})

test('packets of types that are not known are ignored', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const seen = record(c.subscribe('a', { retained: false }))
  await settled()
  await socket.packets([4, 1, token(0)], [127, 1], [30], [1, 1, null], message(1, 'a'))
  assert.deepEqual(seen, [1])
  assert.equal(c.status.state, 'connected')
})

test('everything is subscribed again in one message, with the positions', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  c.subscribe('a.*', () => {})
  c.subscribe('b', () => {}, { retained: false })
  await settled()
  await socket.packets([4, 1, token(0)], [11, 1], [12, 1, token(0)], [4, 2, token(0)], message(4, 'a.b'))
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept([2, 's2', token(0, 0, epoch2), 0])
  assert.deepEqual(again.messages, [1, 1])
  again.take(1)
  assert.deepEqual(again.take(3), [3, 3, 'a.*', { position: token(4) }])
  assert.deepEqual(again.take(3), [3, 4, 'b', { position: token(4), retained: false }])
})

test('a client keeps its name over all its connections [CON-11]', async () => {
  const b = new FakeBroker()
  const c = b.client()
  const origins = new Set([c.origin])
  for (let i = 0; i < 2; i++) {
    const socket = await b.accept()
    origins.add((socket.take(1)[3] as { origin: string }).origin)
    await socket.drop()
    await b.clock.advance(500)
  }
  assert.equal(origins.size, 1)
  assert.match(c.origin, /^[\d-]{20,64}$/)
  assert.notEqual(b.client().origin, c.origin)
})

test('a listener of the status that throws hurts nobody', async (t) => {
  const log = t.mock.method(console, 'error', () => {})
  const b = new FakeBroker()
  const c = b.client()
  c.on('status', () => {
    throw new Error('mine')
  })
  let told = 0
  c.on('status', () => told++)
  await b.accept()
  assert.equal(told, 1)
  assert.equal(log.mock.callCount(), 1)
})

test('close ends the subscriptions without an error, and everything after it fails with closed', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const seen = record(c.subscribe('a', { retained: false }))
  await settled()
  await socket.packets([4, 1, token(0)], message(1, 'a'))
  await c.close()
  await settled()
  assert.equal(socket.closed, 1000)
  assert.deepEqual(seen, [1, 'end'])
  assert.deepEqual(b.statuses.at(-1), { state: 'closed', error: undefined })
  await assert.rejects(c.publish('a', 1), code('closed'))
  const late = c.subscribe('a')
  await assert.rejects(late.ready, code('closed'))
  assert.deepEqual(b.clock.pending(), [])
  await c.close()
})

test('a signal closes the client', async () => {
  const b = new FakeBroker()
  const abort = new AbortController()
  const { c, socket } = await b.connected({ signal: abort.signal })
  abort.abort()
  await settled()
  assert.equal(c.status.state, 'closed')
  assert.equal(socket.closed, 1000)
  assert.equal(b.client({ signal: abort.signal }).status.state, 'closed')
})

test('close while waiting for the next attempt ends at once', async () => {
  const b = new FakeBroker()
  const c = b.client()
  await settled()
  await b.sockets.shift()!.drop()
  await c.close()
  await b.clock.advance(60_000)
  assert.equal(b.sockets.length, 0)
  await assert.rejects(c.ready, code('closed'))
})

test('without a WebSocket the client says so and stops', async (t) => {
  const g = globalThis as { WebSocket?: unknown }
  const had = g.WebSocket
  delete g.WebSocket
  t.after(() => (g.WebSocket = had))
  const b = new FakeBroker()
  const c = b.client({ WebSocket: undefined })
  await assert.rejects(c.ready, /option WebSocket/)
})

test('an address that no broker is at is refused at once', () => {
  for (const url of ['ftp://broker', 'ws://broker/#a', 'ws://broker/?token=x', 'ws://broker/?t=eyJhbGciOiJIUzI1NiJ9.e30.x']) {
    assert.throws(() => connect(url), TypeError, url)
  }
})

test('a lost connection says why, and what may be the matter with one that never was', async () => {
  const b = new FakeBroker()
  b.client()
  await settled()
  const socket = b.sockets.shift()!
  ;(socket.onerror as unknown as (e: object) => void)({ message: 'connect ECONNREFUSED' })
  await socket.drop()
  const { error } = b.statuses.at(-1) as Status
  assert.equal(error!.message, 'connection: closed with 1006: connect ECONNREFUSED')
  assert.match(error!.hint, /URL.*origins/)
  await b.clock.advance(250)
  await (await b.accept()).drop()
  const later = (b.statuses.at(-1) as Status).error!
  assert.deepEqual([later.message, later.hint], ['connection: closed with 1006', ''])
})

test('a token that cannot be had, does not come or is no text is not sent, and the error says so', async () => {
  for (const [source, want] of [
    [() => Promise.reject(new Error('login first')), /token: .*login first/],
    [() => new Promise<string>(() => {}), /token: .*no answer in time/],
    [() => ({ token: 'x' }) as never, /token: .*found object/],
  ] as const) {
    const b = new FakeBroker()
    const c = b.client({ token: source })
    await b.clock.advance(10_000)
    assert.match(String((b.statuses[0] as Status).error?.message), want)
    assert.equal(b.sockets.length, 0)
    await c.close()
  }
})
