import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deflateRawSync } from 'node:zlib'

import { deflate } from '../src/compress.js'
import { msgpack } from '../src/writer.js'
import { at, FakeBroker, live, message, record, settled, token } from './fake.js'

/** hello is a greeting that agrees to compression, with a limit. */
const hello = (payload = 65_536) => [2, 's', token(0), 25_000, { compress: 'deflate-raw', limits: { payload } }]

/** compressed is a Message whose payload is. */
const compressed = (seq: number, topic: string, value: unknown, change = (b: Buffer) => b) => [9, seq, 0, topic, change(deflateRawSync(msgpack(value))), 1, { encoding: 'deflate-raw' }]

test('compression is asked for by who wants it alone [CON-12]', async () => {
  const b = new FakeBroker()
  const c = b.client({ compress: deflate })
  const [, , , options] = (await b.accept()).take(1) as [unknown, unknown, unknown, { origin: string; compress?: string }]
  assert.equal(options.compress, 'deflate-raw')
  await c.close()
  b.client()
  const [, , , others] = (await b.accept()).take(1) as [unknown, unknown, unknown, { compress?: string }]
  assert.equal(others.compress, undefined)
})

test('compressed messages come in their order with the others, also behind a slow reader [MSG-5]', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected({ compress: deflate, buffer: { messages: 1 } }, hello())
  const s = c.subscribe('a', { retained: false })
  await settled()
  await socket.packets([4, socket.take(3)[1], token(0)])
  const long = 'x'.repeat(5_000)
  await socket.packets(message(1, 'a'), compressed(2, 'a', long), message(3, 'a'), compressed(4, 'a', 4), [15, token(9)])
  await socket.packets(message(10, 'a'))
  assert.deepEqual(record(s), [])
  const seen = record(c.subscribe('b', { retained: false }))
  await settled()
  assert.deepEqual(seen, [])
  await c.close()
})

test('every message is as it was published, with its type', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected({ compress: deflate }, hello())
  const seen = record(c.subscribe('a', { retained: false }))
  await settled()
  await socket.packets([4, socket.take(3)[1], token(0)])
  await socket.packets(
    message(1, 'a'),
    compressed(2, 'a', 'x'.repeat(5_000)),
    [9, 3, 0, 'a', deflateRawSync('{"a":[1,2]}'), 1, { type: 'application/json', encoding: 'deflate-raw' }],
    message(4, 'a'),
  )
  assert.deepEqual(seen, [1, 'x'.repeat(5_000), { a: [1, 2] }, 4])
})

for (const [name, broken, agreed] of [
  ['is cut', compressed(2, 'a', 'two', (b) => b.subarray(0, -1))],
  ['has something behind it', compressed(2, 'a', 'two', (b) => Buffer.concat([b, Buffer.of(0)]))],
  ['holds more than the limit', compressed(2, 'a', 'x'.repeat(1_024))],
  ['is of a kind that nobody knows', [9, 2, 0, 'a', msgpack('two'), 1, { encoding: 'br' }]],
  ['was not agreed', compressed(2, 'a', 'two'), [2, 's', token(0), 25_000]],
] as [string, unknown[], unknown[]?][]) {
  test(`a payload that ${name} breaks the connection, and nothing behind it is handed on [MSG-5]`, async () => {
    const b = new FakeBroker()
    const { c, socket } = await b.connected({ compress: deflate }, agreed ?? hello(1_024))
    const seen = record(c.subscribe('a', { retained: false }))
    await settled()
    await socket.packets([4, socket.take(3)[1], token(0)])
    await socket.packets(message(1, 'a', 'one'), broken, message(3, 'a', 'three'))
    assert.notEqual(socket.closed, undefined)
    assert.equal(c.status.state, 'reconnecting')
    await b.clock.advance(250)
    const again = await b.accept(hello())
    again.take(1)
    const [, id, filter, { position }] = again.take(3) as [number, number, string, { position: Uint8Array }]
    assert.deepEqual([filter, position], ['a', token(1)])
    await again.packets([4, id, token(1)], [10, id, 2, 0], compressed(2, 'a', 'two'), message(3, 'a', 'three'), [12, id, token(3)])
    assert.deepEqual(seen, ['one', 'two', 'three', 'live'])
  })
}

test('a client that has not asked takes messages as they are', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b)
  const seen = record(s)
  await socket.packets(message(1, 'a', 'one'))
  assert.deepEqual(seen, ['one'])
  assert.equal(at(1)._seq, 1)
})
