import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Options } from '../src/options.js'
import { FakeBroker, settled, token } from './fake.js'

/** asking is a client with a connection whose Subscribes packets are taken as they come. */
async function asking(b: FakeBroker, options: Options = {}, limits: object = {}) {
  const { c, socket } = await b.connected(options, [2, 's', token(0), 0, { limits }])
  socket.whole = true
  return { c, socket }
}

const plain = { retained: false }

test('subscriptions of one moment are asked for in one packet, and what they have alike is said once [SUB-13]', async () => {
  const b = new FakeBroker()
  const { c, socket } = await asking(b)
  c.subscribe('a', { ...plain, latest: true })
  c.subscribe('b', { ...plain, latest: true, maxRate: 10 })
  c.subscribe('room.7', { latest: true, join: true })
  await settled()
  const own = [{ retained: false }, { retained: false, max_rate: 10 }, { join: true }]
  assert.deepEqual(socket.take(25), [25, [[1, 'a', own[0]], [2, 'b', own[1]], [3, 'room.7', own[2]]], { latest: true }])
  c.subscribe('alone')
  await settled()
  assert.deepEqual(socket.take(3), [3, 4, 'alone'])
})

test('after a cut everything is asked for again in one packet, with the position once', async () => {
  const b = new FakeBroker()
  const { c, socket } = await asking(b, {}, { inflight: 2 })
  const seen: unknown[] = []
  for (const filter of ['a', 'b', 'c']) c.subscribe(filter, (m) => seen.push([filter, m.data]), plain)
  await settled()
  const [, asked] = socket.take(25) as [number, [number, string][]]
  await socket.packets(...asked.map(([id]) => [4, id, token(0)]))
  await socket.packets([15, token(7)])
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept(null)
  again.whole = true
  again.take(1)
  await again.packets([2, 's2', token(9), 0])
  assert.deepEqual(again.take(25), [25, [[4, 'a'], [5, 'b'], [6, 'c']], { position: token(7), retained: false }])
  assert.deepEqual(again.messages, [1, 1])
})

test('a refusal is for its subscription alone [SUB-14]', async () => {
  const b = new FakeBroker()
  const { c, socket } = await asking(b)
  const no = c.subscribe('a', plain)
  const yes = c.subscribe('b', plain)
  await settled()
  socket.take(25)
  await socket.packets([23, 1, 4400, 'forbidden', 'no'], [4, 2, token(0)])
  await assert.rejects(no.ready, { code: 'forbidden' })
  await yes.ready
  await b.clock.advance(10_000)
  assert.deepEqual(socket.sent, [])
})

test('no message is longer than the broker takes, and nobody is forgotten', async () => {
  const b = new FakeBroker()
  const { c, socket } = await asking(b, {}, { packet: 128 })
  const lengths: number[] = []
  const send = socket.send.bind(socket)
  socket.send = (m) => (lengths.push(m.length), send(m))
  const filters = Array.from({ length: 40 }, (_, i) => `topic.${i}`)
  for (const f of filters) c.subscribe(f, { since: undefined })
  await settled()
  assert.deepEqual(socket.sent.flatMap((p) => (p[1] as [number, string][]).map(([, f]) => f)), filters)
  assert.ok(lengths.length > 3 && Math.max(...lengths) <= 128, String(lengths))
})

const refusals = [
  ['with no id', [23, null, 4404, 'unknown_type', '']],
  ['for the first of them', [23, 1, 4404, 'unknown_type', '']],
] as const
for (const [how, refusal] of refusals) {
  test(`a broker that refuses Subscribes ${how} is asked one by one, until the next connection`, async () => {
    const b = new FakeBroker()
    const { c, socket } = await asking(b)
    const subs = ['a', 'b'].map((f) => c.subscribe(f, plain))
    await settled()
    socket.take(25)
    await socket.packets([...refusal])
    assert.deepEqual(socket.sent, [[5, 3, 1], [5, 4, 2], [3, 5, 'a', plain], [3, 6, 'b', plain]])
    await socket.packets([23, 3, 4408, 'not_found', ''], [23, 4, 4408, 'not_found', ''], [4, 5, token(0)], [4, 6, token(0)])
    await Promise.all(subs.map((s) => s.ready))
    socket.sent.length = 0
    for (const f of ['c', 'd']) c.subscribe(f)
    await settled()
    assert.deepEqual(socket.sent, [[3, 7, 'c'], [3, 8, 'd']])
    await socket.drop()
    await b.clock.advance(500)
    const next = await b.accept(null)
    next.whole = true
    next.take(1)
    await next.packets([2, 's2', token(0), 0])
    next.take(25)
  })
}

test('a broker that says nothing to Subscribes is asked one by one after 5 s [ENC-9]', async () => {
  const b = new FakeBroker()
  const { c, socket } = await asking(b)
  const subs = ['a', 'b', 'c'].map((f) => c.subscribe(f, plain))
  await settled()
  socket.take(25)
  subs[1]?.close()
  await b.clock.advance(4_999)
  assert.deepEqual(socket.sent, [[5, 4, 2]])
  await b.clock.advance(1)
  assert.deepEqual(socket.sent.slice(1), [[5, 5, 1], [5, 6, 3], [3, 7, 'a', plain], [3, 8, 'c', plain]])
  // it was merely slow: what it has done is taken back, what it says of that is for nobody
  await socket.packets([4, 1, token(0)], [4, 3, token(0)], [6, 4], [6, 5], [6, 6], [4, 7, token(3)], [4, 8, token(3)])
  await subs[0]?.ready
  await b.clock.advance(60_000)
  assert.equal(socket.sent.length, 5)
})

test('that is so as well when the first of them has been closed meanwhile', async () => {
  const b = new FakeBroker()
  const { c, socket } = await asking(b)
  const subs = ['a', 'b'].map((f) => c.subscribe(f, plain))
  await settled()
  socket.take(25)
  subs[0]?.close()
  await b.clock.advance(5_000)
  assert.deepEqual(socket.sent, [[5, 3, 1], [5, 4, 2], [3, 5, 'b', plain]])
})
