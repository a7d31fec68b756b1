import assert from 'node:assert/strict'
import { test } from 'node:test'

import { CarillonError } from '../src/errors.js'
import { cursorOf } from '../src/position.js'
import { at, epoch1, epoch2, FakeBroker, quiet, settled, token } from './fake.js'

const code = (want: string) => (error: unknown) => error instanceof CarillonError && error.code === want

test('a publish resolves with its acknowledgement', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const done = c.publish('orders.42', { total: 5 }, { retain: true, receivers: true, headers: { b: '2', a: '1' }, id: 'x' })
  await settled()
  const [, id, topic, payload, options] = socket.take(7)
  assert.deepEqual([topic, Buffer.from(payload as Uint8Array).toString('hex')], ['orders.42', '81a5746f74616c05'])
  assert.deepEqual(options, { retain: true, headers: { a: '1', b: '2' }, receivers: true, mid: 'x' })
  await b.clock.advance(12)
  await socket.packets([8, id, 7, 3, 1, { receivers: 2, duplicate: true }])
  assert.deepEqual(await done, { seq: 7, offset: 3, receivers: 2, durability: 'committed', duplicate: true, cursor: cursorOf(at(7, 3)) })
  assert.equal(c.latency, 12)
})

for (const [name, data, contentType, payload, type] of [
  ['an object as MessagePack', { a: [1, null] }, undefined, '81a1619201c0', undefined],
  ['text as MessagePack', 'hé', undefined, 'a368c3a9', undefined],
  ['bytes as they are', Uint8Array.of(1, 2), undefined, '0102', 'application/octet-stream'],
  ['a part of a buffer', Uint8Array.of(1, 2, 3).subarray(1), 'image/png', '0203', 'image/png'],
  ['a buffer', Uint8Array.of(1).buffer, undefined, '01', 'application/octet-stream'],
  ['JSON', { a: 1 }, 'application/json', '7b2261223a317d', 'application/json'],
  ['JSON of another name', [1], 'application/ld+json; charset=utf-8', '5b315d', 'application/ld+json; charset=utf-8'],
  ['text', 'hé', 'text/plain', '68c3a9', 'text/plain'],
  ['MessagePack by its name', 1, 'application/msgpack', '01', 'application/msgpack'],
] as const) {
  test(`publishes ${name}`, async () => {
    const b = new FakeBroker()
    const { c, socket } = await b.connected()
    void c.publish('a', data, { contentType }).catch(() => {})
    await settled()
    const p = socket.take(7)
    assert.equal(Buffer.from(p[3] as Uint8Array).toString('hex'), payload)
    assert.equal((p[4] as { type?: string } | undefined)?.type, type)
  })
}

test('clear publishes nothing, retained', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  void c.clear('a').catch(() => {})
  await settled()
  const p = socket.take(7)
  assert.equal((p[3] as Uint8Array).length, 0)
  assert.equal((p[4] as { retain?: boolean }).retain, true)
})

test('what cannot be published is refused before it is sent', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  await assert.rejects(c.publish(undefined as never, 1), TypeError)
  await assert.rejects(c.publish('a', 'text', { contentType: 'image/png' }), TypeError)
  await assert.rejects(c.publish('a', () => {}), TypeError)
  await assert.rejects(c.publish('a', 1n), TypeError)
  await assert.rejects(c.publish('a', 1, { headers: { k: Object.create(null) } }), TypeError)
  assert.deepEqual(socket.sent, [])
})

test('publishes of one moment travel in one message and keep their order', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  for (let i = 0; i < 10; i++) void c.publish('a', i).catch(() => {})
  await settled()
  assert.deepEqual(socket.messages, [1, 10])
  assert.deepEqual(socket.sent.map((p) => p[1]), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  assert.deepEqual(socket.sent.map((p) => (p[3] as Uint8Array)[0]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

test('not more are in flight than the server takes, and not more bytes are in a message', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected({}, [2, 's', token(0), 0, { limits: { inflight: 3, packet: 48 } }])
  const all = [1, 2, 3, 4].map(() => quiet(c.publish('a', new Uint8Array(2), { id: 'x' })))
  const large = quiet(c.publish('a', new Uint8Array(40), { id: 'x' }))
  await settled()
  assert.deepEqual(socket.messages, [1, 1, 1, 1])
  await socket.packets([8, 1, 1, 0, 0], [8, 2, 2, 0, 0], [8, 3, 3, 0, 0])
  await settled()
  await assert.rejects(large, code('too_large'))
  await socket.packets([8, 4, 4, 0, 0])
  assert.deepEqual((await Promise.all(all)).map((a) => a.seq), [1, 2, 3, 4])
})

test('an error of the broker is the error of its publish alone', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const bad = quiet(c.publish('a', 1))
  const good = c.publish('a', 2)
  await settled()
  await socket.packets([23, 1, 4301, 'store_unavailable', 'away', { hint: 'wait', retry_after: 500 }], [8, 2, 1, 0, 0])
  await assert.rejects(bad, (e: CarillonError) => e.code === 'store_unavailable' && e.retryable && e.retryAfter === 500 && e.hint === 'wait')
  assert.equal((await good).durability, 'appended')
})

test('publishes wait for a connection, in a queue that is bounded', async () => {
  const b = new FakeBroker()
  const c = b.client({ pendingLimit: 2 })
  const both = [c.publish('a', 1), c.publish('a', 2)]
  await assert.rejects(c.publish('a', 3), (e: CarillonError) => e.code === 'queue_full' && e.retryable)
  const socket = await b.accept()
  await socket.packets([8, 1, 1, 0, 0], [8, 2, 2, 0, 0])
  assert.deepEqual((await Promise.all(both)).map((a) => a.seq), [1, 2])
})

test('a publish may have a lifetime, and leave out an origin [PUB-13] [PUB-14]', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected({ origin: 'mine' })
  const options = [{ ttl: 1e12 }, { ttl: 1.7, exclude: true }, { exclude: 'other' }, { exclude: false }, { ttl: -1 }]
  for (const o of options) void c.publish('a', 1, { ...o, id: 'x' }).catch(() => {})
  await assert.rejects(c.publish('a', 1, { exclude: 1 as never }), TypeError)
  await settled()
  assert.deepEqual(
    socket.sent.map((p) => p[4]),
    [{ ttl: 1e12 }, { ttl: 1, exclude: 'mine' }, { exclude: 'other' }, {}, { ttl: 0 }].map((o) => ({ mid: 'x', ...o })),
  )
})

test('every publish has an id of its own, or that which it is given', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  for (const id of [undefined, undefined, 'mine']) void c.publish('a', 1, { id }).catch(() => {})
  await settled()
  const [one, two, three] = socket.sent.map(mid)
  assert.match(one as string, /^[\d-]{20,64}$/)
  assert.notEqual(one, two)
  assert.equal(three, 'mine')
})

/** mid is the message id of a Publish. */
const mid = (p: unknown[]) => (p[4] as { mid: string }).mid

const hello = (seq: number, user = 'u', epoch = epoch1) => [2, 's', token(seq, 0, epoch), 0, { user }]

/** cut is a client whose connection is lost while it has two publishes in flight and another one waits, and what was sent of them. */
async function cut(b: FakeBroker) {
  const { c, socket } = await b.connected({}, [2, 's', token(5), 0, { user: 'u', limits: { inflight: 2 } }])
  const all = [1, 2, 3].map((n) => quiet(c.publish('a', n)))
  await settled()
  const sent = socket.sent.splice(0)
  assert.equal(sent.length, 2)
  await socket.drop()
  return { c, all, sent }
}

test('what was sent and not acknowledged is sent again first, in its order and with its id', async () => {
  const b = new FakeBroker()
  const { all, sent } = await cut(b)
  await b.clock.advance(250)
  const again = await b.accept(hello(9))
  again.take(1)
  const packets = [7, 7, 7].map((type) => again.take(type))
  assert.deepEqual(packets.map((p) => (p[3] as Uint8Array)[0]), [1, 2, 3])
  assert.deepEqual(packets.slice(0, 2).map(mid), sent.map(mid))
  await again.packets([8, packets[0]?.[1], 6, 0, 0, { duplicate: true }], [8, packets[1]?.[1], 10, 0, 0], [8, packets[2]?.[1], 11, 0, 0])
  const acks = await Promise.all(all)
  assert.deepEqual(acks.map((a) => [a.seq, a.duplicate]), [[6, true], [10, false], [11, false]])
  // not behind what the duplicate was the repetition of
  assert.deepEqual(acks.map((a) => a.cursor), [cursorOf(at(6)), cursorOf(at(10)), cursorOf(at(11))])
})

for (const [what, next] of [
  ['in another run of the broker', hello(9, 'u', epoch2)],
  ['as another user', hello(9, 'v')],
] as const) {
  test(`what was sent and not acknowledged has an unknown outcome ${what}`, async () => {
    const b = new FakeBroker()
    const { all } = await cut(b)
    await b.clock.advance(250)
    const again = await b.accept(next as unknown[])
    for (const p of all.slice(0, 2)) await assert.rejects(p, (e: CarillonError) => e.code === 'unknown_outcome' && e.retryable)
    again.take(1)
    await again.packets([8, again.take(7)[1], 9, 0, 0])
    assert.equal((await all[2])?.seq, 9)
  })
}

test('a publish is not sent again later than 90 s after the first time', async () => {
  const b = new FakeBroker()
  const { all } = await cut(b)
  let failed = 0
  for (const p of all) p.catch(() => failed++)
  for (let s = 0; s < 89; s++) {
    await b.clock.advance(1_000)
    for (const socket of b.sockets.splice(0)) await socket.drop()
  }
  assert.equal(failed, 0)
  for (let s = 0; s < 22; s++) {
    await b.clock.advance(1_000)
    for (const socket of b.sockets.splice(0)) await socket.drop()
  }
  for (const p of all.slice(0, 2)) await assert.rejects(p, code('unknown_outcome'))
  assert.equal(failed, 2, 'what was never sent waits')
})

test('an error that answers a repetition says nothing of the first attempt', async () => {
  const b = new FakeBroker()
  const { all } = await cut(b)
  await b.clock.advance(250)
  const again = await b.accept(hello(9))
  again.take(1)
  const ids = [again.take(7)[1], again.take(7)[1], again.take(7)[1]]
  await again.packets(...ids.map((id) => [23, id, 4300, 'rate_limited', 'slow down']))
  for (const p of all.slice(0, 2)) await assert.rejects(p, (e: CarillonError) => e.code === 'unknown_outcome' && (e.cause as CarillonError).code === 'rate_limited')
  await assert.rejects(all[2] as Promise<unknown>, code('rate_limited'))
})

test('a publish that was given up while it was in flight is not sent again', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const abort = new AbortController()
  const given = c.publish('a', 1, { signal: abort.signal })
  await settled()
  abort.abort()
  await assert.rejects(given, code('unknown_outcome'))
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept()
  again.take(1)
  assert.deepEqual(again.sent, [])
})

test('the cursor of a duplicate is not behind the message, wherever the session is', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected({}, [2, 's', token(100, 50), 0])
  const stored = c.publish('a', 1, { id: 'x' })
  const plain = c.publish('a', 1, { id: 'y' })
  await settled()
  await socket.packets([8, 1, 0, 7, 1, { duplicate: true }], [8, 2, 9, 0, 0, { duplicate: true }])
  assert.deepEqual([(await stored).cursor, (await plain).cursor], [cursorOf(at(0, 7)), cursorOf(at(9, 0))])
})

test('a signal takes a publish back that was not sent, and leaves the outcome of another open', async () => {
  const b = new FakeBroker()
  const c = b.client()
  const abort = new AbortController()
  const { signal } = abort
  const waiting = c.publish('a', 1, { signal })
  abort.abort(new Error('changed my mind'))
  await assert.rejects(waiting, /changed my mind/)
  await assert.rejects(c.publish('a', 1, { signal }), /changed my mind/)
  const socket = await b.accept()
  socket.take(1)
  assert.deepEqual(socket.sent, [])
  const later = new AbortController()
  const sent = c.publish('a', 1, { signal: later.signal })
  await settled()
  later.abort()
  await assert.rejects(sent, code('unknown_outcome'))
})

test('close waits for what is not acknowledged, but not for ever', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const publish = c.publish('a', 1)
  await settled()
  let closed = false
  void c.close().then(() => (closed = true))
  await settled()
  assert.equal(closed, false)
  await socket.packets([8, 1, 1, 0, 0])
  await publish
  await settled()
  assert.ok(closed)

  const other = await b.connected()
  const lost = other.c.publish('a', 1)
  void lost.catch(() => {})
  void other.c.close({ timeout: 1000 }).then(() => (closed = true))
  closed = false
  await b.clock.advance(999)
  assert.equal(closed, false)
  await b.clock.advance(1)
  await assert.rejects(lost, code('unknown_outcome'))
})
