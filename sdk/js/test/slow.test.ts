import assert from 'node:assert/strict'
import { test } from 'node:test'

import { FakeBroker, live, message, quiet, record, settled, type Socket, token } from './fake.js'
import { cursor, event, FakeHttp, id, said } from './fakehttp.js'

const path = '/v1/subscribe'

/** take reads n events by hand. */
async function take(s: AsyncIterator<{ type: string }>, n: number): Promise<unknown[]> {
  const seen = []
  while (seen.length < n) {
    const { value } = await s.next()
    seen.push(value.type === 'message' ? value.data : value.type)
  }
  return seen
}

test('a message that is full of packets does not park an application that reads', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b, { buffer: { messages: 4 } })
  const seen = record(s)
  await socket.packets(...Array.from({ length: 100 }, (_, i) => message(i + 1, 'a')))
  await b.clock.advance(1)
  assert.equal(seen.length, 100)
  assert.deepEqual(socket.sent, [])
})

test('a slow application leaves the stream after 100 ms and resumes where it was, when it has caught up; others do not wait', async () => {
  const b = new FakeBroker()
  const { c, socket, s } = await live(b, { buffer: { messages: 4 } })
  const other = record(c.subscribe('b', { retained: false }))
  await settled()
  await socket.packets([4, socket.take(3)[1], token(0)])
  await socket.packets(...[1, 2, 3, 4, 5].map((n) => message(n, 'a')))
  await socket.packets(message(6, 'b'))
  assert.deepEqual(other, [])
  await b.clock.advance(100)
  assert.deepEqual(other, [6])
  assert.deepEqual(socket.take(5).slice(2), [1], 'it unsubscribes')

  const events = s.events()
  assert.deepEqual(await take(events, 3), [1, 2, 3])
  await settled()
  const [, id, filter, options] = socket.take(3)
  assert.deepEqual([filter, options], ['a', { position: token(4), retained: false }])
  await socket.packets([4, id, token(4)], [10, id, 1, 0], message(5, 'a'), [12, id, token(6)], message(7, 'a'))
  assert.deepEqual(await take(events, 4), [4, 5, 'live', 7])
})

test('the bytes of messages count as well', async () => {
  const b = new FakeBroker()
  const { socket } = await live(b, { buffer: { bytes: 5000 } })
  const big = (n: number) => [9, n, 0, 'a', new Uint8Array(2000), 1, { type: 'x/y' }]
  await socket.packets(big(1), big(2), big(3))
  await b.clock.advance(100)
  assert.deepEqual(socket.take(5).slice(2), [1])
})

test('a gap that finds no room is told when the subscription resumes', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b, { buffer: { messages: 1 } })
  await socket.packets(message(1, 'a'), [13, 0, 'trimmed', token(1), token(9)])
  await b.clock.advance(100)
  socket.take(5)
  const events = s.events()
  assert.deepEqual(await take(events, 1), [1])
  await settled()
  assert.deepEqual(socket.take(3)[3], { position: token(1), retained: false })
})

test('a snapshot is held whole, however large it is', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected({ buffer: { messages: 2 } })
  const s = c.subscribe('a')
  await settled()
  await socket.packets([4, 1, token(0)], [10, 1, 5, 1], ...[1, 2, 3, 4, 5].map((n) => message(n, 'a')), [11, 1])
  const seen = record(s)
  await settled()
  assert.equal(seen.length, 6)
})

test('a subscription that is closed while it waits for its application lets the others go on', async () => {
  const b = new FakeBroker()
  const { c, socket, s } = await live(b, { buffer: { messages: 1 } })
  const other = record(c.subscribe('b', { retained: false }))
  await settled()
  await socket.packets([4, socket.take(3)[1], token(0)])
  await socket.packets(message(1, 'a'), message(2, 'a'), message(3, 'b'))
  s.close()
  await settled()
  assert.deepEqual(other, [3])
})

test('what comes behind a connection that is lost while an application is slow is not lost', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b, { buffer: { messages: 1 } })
  await socket.packets(message(1, 'a'), message(2, 'a'))
  void socket.drop()
  await b.clock.advance(100)
  await b.clock.advance(250)
  const events = s.events()
  const again: Socket = await b.accept([2, 's2', token(2), 0])
  assert.deepEqual(await take(events, 1), [1])
  await settled()
  again.take(1)
  const [, id, , options] = again.take(3)
  assert.deepEqual(options, { position: token(1), retained: false })
  await again.packets([4, id, token(1)], [10, id, 1, 0], message(2, 'a'), [12, id, token(2)])
  assert.deepEqual(await take(events, 2), [2, 'live'])
})

test('what waits for a slow application when its connection ends by the clock comes again on the next one [POS-10]', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b, { buffer: { messages: 1 }, maxSilence: 50 })
  await socket.packets(message(1, 'a'), message(2, 'a'))
  await b.clock.advance(50) // of the 100 ms that it may wait
  assert.ok(socket.terminated)
  const events = s.events()
  assert.deepEqual(await take(events, 1), [1])
  await b.clock.advance(250)
  const again = await b.accept([2, 's2', token(2), 0])
  again.take(1)
  const [, id, , options] = again.take(3)
  assert.deepEqual(options, { position: token(1), retained: false })
  await again.packets([4, id, token(1)], [10, id, 1, 0], message(2, 'a'), [12, id, token(2)])
  assert.deepEqual(await take(events, 2), [2, 'live'])
})

test('what waits for a slow application when a publish ends the session over HTTP is not lost', async () => {
  const b = new FakeHttp()
  const c = b.client('sse', { buffer: { messages: 1 } })
  const s = c.subscribe('a', { retained: false })
  await b.start(0)
  const stream = await (await b.take(path)).open(id(0), event('live', {}, cursor(0)))
  const events = s.events()
  assert.deepEqual(await take(events, 1), ['live'])
  await stream.send(said(1, 'a'), said(2, 'a'))
  const lost = quiet(c.publish('b', 1))
  await (await b.take('/v1/publish', 'POST')).fail()
  await assert.rejects(lost, /unknown_outcome/)
  assert.deepEqual(await take(events, 1), [1])
  await b.clock.advance(250)
  const again = await b.take(path)
  assert.equal(again.url.searchParams.get('after'), cursor(1))
  await again.open(said(2, 'a'), said(3, 'a'))
  assert.deepEqual(await take(events, 1), [2])
})
