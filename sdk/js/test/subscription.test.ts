import assert from 'node:assert/strict'
import { test } from 'node:test'

import { CarillonError } from '../src/errors.js'
import type { Message } from '../src/message.js'
import { cursorOf } from '../src/position.js'
import { msgpack } from '../src/writer.js'
import { at, epoch2, FakeBroker, live, message, record, settled, token } from './fake.js'

const code = (want: string) => (error: unknown) => error instanceof CarillonError && error.code === want

test('retained values, the log behind them and live messages come in order', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const s = c.subscribe('a.*')
  const seen = record(s)
  await settled()
  assert.deepEqual(socket.take(3), [3, 1, 'a.*'])
  await socket.packets([4, 1, token(5)])
  await s.ready
  await socket.packets([10, 1, 1, 1], message(2, 'a.x'), [11, 1], [10, 1, 1, 0], message(6, 'a.x'), [12, 1, token(6)], message(7, 'a.x'), message(8, 'b'))
  assert.deepEqual(seen, [{ retained: 2 }, 'snapshot', 6, 'live', 7])
})

test('a message says all that belongs to it', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b)
  const seen: Message[] = []
  s.on('message', (m) => seen.push(m))
  await socket.packets([9, 3, 2, 'a', Buffer.from('{"a":1}'), 1_767_225_600_000, { type: 'application/json', headers: { __proto__: undefined, ['a']: 'b' }, retain: true }])
  const { cursor, headers, ...m } = seen[0]!
  assert.deepEqual(m, { type: 'message', topic: 'a', data: { a: 1 }, error: undefined, contentType: 'application/json', time: 1_767_225_600_000, retain: true, retained: false })
  assert.deepEqual({ ...headers }, { a: 'b' })
  assert.equal(cursor, cursorOf(at(3, 2)))
})

test('what cannot be decoded is handed out as bytes with the error', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b)
  const seen: Message[] = []
  s.on('message', (m) => seen.push(m))
  const wrong = Buffer.from('ddffffffff', 'hex')
  await socket.packets([9, 1, 0, 'a', wrong, 1], [9, 2, 0, 'a', Buffer.from('{'), 1, { type: 'application/json' }], [9, 3, 0, 'a', Buffer.from('ff', 'hex'), 1, { type: 'text/plain' }])
  assert.deepEqual(seen.map((m) => [Buffer.from(m.data as Uint8Array).toString('hex'), m.error instanceof Error]), [['ddffffffff', true], ['7b', true], ['ff', true]])
})

test('names that mean something to JavaScript are plain data', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b)
  const seen: Message[] = []
  s.on('message', (m) => seen.push(m))
  const evil = msgpack(new Map([['__proto__', new Map([['polluted', 1]])]]))
  await socket.packets([9, 1, 0, 'a', evil, 1, new Map([['headers', new Map([['__proto__', 'x'], ['constructor', 'y']])]])])
  assert.equal(({} as { polluted?: number }).polluted, undefined)
  assert.deepEqual(Object.keys(seen[0]!.data as object), ['__proto__'])
  assert.deepEqual(Object.entries(seen[0]!.headers), [['__proto__', 'x'], ['constructor', 'y']])
})

test('a subscription is there for the callback given to subscribe', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const seen: unknown[] = []
  const s = c.subscribe('a', (m) => seen.push(m.data), { retained: false })
  await settled()
  await socket.packets([4, 1, token(0)], message(1, 'a'), message(2, 'a'))
  assert.deepEqual(seen, [1, 2])
  s.close()
  await settled()
  socket.take(3)
  assert.deepEqual(socket.take(5).slice(2), [1])
  await socket.packets(message(3, 'a'), [6, 2])
  assert.deepEqual(seen, [1, 2])
})

test('a callback never runs where the client reads, and one that throws or rejects hurts nobody', async (t) => {
  const log = t.mock.method(console, 'error', () => {})
  const b = new FakeBroker()
  const { socket, s } = await live(b)
  const seen: unknown[] = []
  let reading = false
  s.on('message', (m) => {
    assert.ok(!reading)
    if (m.data === 1) throw new Error('mine')
  })
  s.on('message', async (m) => {
    if (m.data === 2) throw new Error('mine too')
  })
  s.on('message', (m) => void seen.push(m.data))
  reading = true
  socket.raw(Buffer.concat([1, 2, 3].map((n) => msgpack(message(n, 'a')))))
  reading = false
  await settled()
  assert.deepEqual(seen, [1, 2, 3])
  assert.equal(log.mock.callCount(), 2)
})

test('the next message waits for the promise of a callback', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b)
  const seen: unknown[] = []
  let go!: () => void
  s.on('message', (m) => {
    seen.push(m.data)
    return m.data === 1 ? new Promise<void>((resolve) => (go = resolve)) : undefined
  })
  await socket.packets(message(1, 'a'), message(2, 'a'))
  assert.deepEqual(seen, [1])
  go()
  await settled()
  assert.deepEqual(seen, [1, 2])
})

test('a listener can be taken away', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b)
  const seen: unknown[] = []
  const off = s.on('message', (m) => seen.push(m.data))
  await socket.packets(message(1, 'a'))
  off()
  await socket.packets(message(2, 'a'))
  assert.deepEqual(seen, [1])
})

test('leaving the loop ends the subscription', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const loop = (async () => {
    for await (const m of c.subscribe('a', { retained: false })) if (m.data === 2) break
  })()
  await settled()
  await socket.packets([4, 1, token(0)], message(1, 'a'), message(2, 'a'), message(3, 'a'))
  await loop
  await settled()
  socket.take(3)
  assert.deepEqual(socket.take(5), [5, 2, 1])
})

test('a signal ends the subscription and its iteration, without an error', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const abort = new AbortController()
  const s = c.subscribe('a', { signal: abort.signal, retained: false })
  const seen = record(s)
  await settled()
  await socket.packets([4, 1, token(0)], message(1, 'a'))
  abort.abort()
  await settled()
  assert.deepEqual(seen, [1, 'end'])
  socket.take(3)
  socket.take(5)
  const late = c.subscribe('a', { signal: abort.signal })
  await settled()
  assert.deepEqual(socket.sent, [])
  await assert.rejects(late.ready, code('closed'))
})

test('there is one reader', async () => {
  const b = new FakeBroker()
  const { s } = await live(b)
  record(s)
  await assert.rejects(async () => {
    for await (const m of s) assert.fail(String(m))
  }, TypeError)
})

test('a subscription that is refused is ended with the reason, and others are not', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const bad = c.subscribe('secret')
  const seen = record(bad)
  const heard: string[] = []
  const other = c.subscribe('other', () => {})
  other.on('error', (e) => heard.push(e.code))
  const good = record(c.subscribe('a', { retained: false }))
  await settled()
  await socket.packets([23, 1, 4402, 'forbidden', 'no grant'], [23, 2, 4409, 'subscription_limit', ''], [4, 3, token(0)], message(1, 'a'))
  assert.match(String(seen[0]), /forbidden: no grant/)
  await assert.rejects(bad.ready, code('forbidden'))
  assert.deepEqual(heard, ['subscription_limit'])
  assert.deepEqual(good, [1])
})

test('an error that nobody listens to is logged', async (t) => {
  const log = t.mock.method(console, 'error', () => {})
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  c.subscribe('secret', () => {})
  await settled()
  await socket.packets([23, 1, 4402, 'forbidden', 'no grant'])
  assert.equal(log.mock.callCount(), 1)
})

test('what is wrong with a filter or a cursor is found at once', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  await assert.rejects(c.subscribe(undefined as never).ready, TypeError)
  await assert.rejects(c.subscribe('a', { since: 'nonsense' }).ready, code('bad_position'))
  await settled()
  assert.deepEqual(socket.sent, [])
})

test('a refusal for now is asked again after the time it names and the backoff', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const seen = record(c.subscribe('a', { retained: false }))
  await settled()
  socket.take(3)
  await socket.packets([23, 1, 4302, 'not_ready', '', { retry_after: 1000 }])
  await b.clock.advance(1249)
  assert.deepEqual(socket.sent, [])
  await b.clock.advance(1)
  const [, id] = socket.take(3)
  await socket.packets([4, id, token(0)], message(1, 'a'))
  assert.deepEqual(seen, [1])
})

test('an unsubscribe that is refused for now is repeated', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b)
  s.close()
  await settled()
  const [, id] = socket.take(5)
  await socket.packets([23, id, 4300, 'rate_limited', ''])
  await b.clock.advance(1000)
  assert.deepEqual(socket.take(5).slice(2), [1])
})

test('a subscription goes on after a cursor that the application kept', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const seen = record(c.subscribe('a', { since: cursorOf(at(3)) }))
  await settled()
  assert.deepEqual(socket.take(3), [3, 1, 'a', { position: token(3) }])
  await socket.packets([4, 1, token(3)], [10, 1, 1, 0], message(4, 'a'), [12, 1, token(5)])
  assert.deepEqual(seen, [4, 'live'])
})

test('a gap is told in its place, with what is known of it', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b)
  const seen = record(s)
  const gaps: unknown[] = []
  s.on('gap', (g) => gaps.push(g))
  await socket.packets(message(1, 'a'), [13, 0, 'trimmed', token(1), token(9), { count: 8 }], message(10, 'a'))
  assert.deepEqual(seen, [1, { gap: 'trimmed', count: 8 }, 10])
  assert.deepEqual(gaps, [{ type: 'gap', filter: 'a', reason: 'trimmed', from: cursorOf(at(1)), to: cursorOf(at(9)), count: 8 }])
})

test('after a restart of the broker there is one gap, then the retained values again, then what is live', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const seen = record(c.subscribe('a'))
  await settled()
  await socket.packets([4, 1, token(0)], [11, 1], [12, 1, token(0)], message(1, 'a'))
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept([2, 's2', token(0, 0, epoch2), 0])
  again.take(1)
  assert.deepEqual(again.take(3), [3, 2, 'a', { position: token(1) }])
  const to = token(0, 0, epoch2)
  await again.packets([4, 2, token(1)], [13, 2, 'epoch', token(1), to], [10, 2, 1, 1], message(0, 'a', 'kept'), [11, 2, { reset: true }], [12, 2, to], message(1, 'a', 'new'))
  assert.deepEqual(seen, ['snapshot', 'live', 1, { gap: 'epoch' }, { retained: 'kept' }, 'reset', 'live', 'new'])
})

test('a cut within the retained values asks for them again, and misses nothing [SUB-15]', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const seen = record(c.subscribe('a.*'))
  await settled()
  await socket.packets([4, 1, token(5)], [10, 1, 2, 1], message(2, 'a.x'))
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept([2, 's2', token(9), 0])
  again.take(1)
  assert.deepEqual(again.take(3), [3, 2, 'a.*', { position: token(5), snapshot: true }])
  await again.packets([4, 2, token(5)], [10, 2, 1, 1], message(2, 'a.x'), [11, 2, { reset: true }], [10, 2, 1, 0], message(8, 'a.x'), [12, 2, token(9)])
  assert.deepEqual(seen, [{ retained: 2 }, { retained: 2 }, 'reset', 8, 'live'])
})

test('what is replayed a second time is not delivered again', async () => {
  const b = new FakeBroker()
  const { socket, s } = await live(b)
  const seen = record(s)
  await socket.packets(message(1, 'a'), message(2, 'a'), message(2, 'a'), message(1, 'a'), message(3, 'a'))
  assert.deepEqual(seen, [1, 2, 3])
})

test('two subscriptions that match are each handed the one message', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const one = record(c.subscribe('a.*', { retained: false }))
  const two = record(c.subscribe('>', { retained: false }))
  await settled()
  await socket.packets([4, 1, token(0)], [4, 2, token(0)], message(1, 'a.b'), message(2, '$sys.x'))
  assert.deepEqual([one, two], [[1], [1]])
})

test('the broker is told how a subscription begins and how it is held back', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  c.subscribe('a', { last: 3 })
  c.subscribe('a', { last: 3, since: cursorOf(at(2)) })
  c.subscribe('a', { latest: true, retained: false })
  c.subscribe('a', { maxRate: 10.5 })
  await settled()
  const asked = [3, 3, 3, 3].map((type) => socket.take(type)[3])
  assert.deepEqual(asked, [{ last: 3, retained: false }, { position: token(2), retained: false }, { retained: false, latest: true }, { max_rate: 10 }])
})

test('after last messages a subscription resumes where it was, and asks for none of them again', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const seen = record(c.subscribe('a', { last: 3 }))
  await settled()
  const id = socket.take(3)[1]
  await socket.packets([4, id, token(5)], [10, id, 1, 0], message(6, 'a'), message(7, 'a'), [12, id, token(8)])
  await socket.packets([13, 0, 'trimmed', token(8), token(20)], message(21, 'a'))
  assert.deepEqual(seen, [6, 'live', { gap: 'trimmed' }, 21])
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept()
  again.take(1)
  assert.deepEqual(again.take(3)[3], { position: token(21), retained: false })
})

test('a subscription that is held back is told once that it has caught up, and resumes from its own place', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const seen = record(c.subscribe('a', { latest: true, retained: false }))
  await settled()
  const id = socket.take(3)[1]
  await socket.packets([4, id, token(5)], [12, id, token(5)], message(6, 'a', 'for others'), [10, id, 1, 0], message(8, 'a'), [12, id, token(9)])
  await socket.packets([10, id, 1, 0], message(12, 'a'), [15, token(30)], [12, id, token(14)])
  assert.deepEqual(seen, ['live', 8, 12])
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept()
  again.take(1)
  const [, next, , options] = again.take(3)
  assert.deepEqual(options, { position: token(14), latest: true, retained: false })
  await again.packets([4, next, token(14)], [12, next, token(15)])
  assert.deepEqual(seen, ['live', 8, 12, 'live'])
})

test('a subscription that is refused for now is asked for again at its time, also over another connection', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const s = c.subscribe('a', { retained: false })
  await settled()
  await socket.packets([23, socket.take(3)[1], 4302, 'not_ready', '', { retry_after: 1000 }])
  await b.clock.advance(1249)
  assert.deepEqual(socket.sent, [])
  await b.clock.advance(1)
  await socket.packets([23, socket.take(3)[1], 4302, 'not_ready', '', { retry_after: 10_000 }])
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept()
  again.take(1)
  assert.deepEqual(again.sent, [])
  await b.clock.advance(10_000 + 500 - 251)
  assert.deepEqual(again.sent, [])
  await b.clock.advance(1)
  await again.packets([4, again.take(3)[1], token(0)])
  await s.ready
  s.close()
  await c.close()
  assert.deepEqual(b.clock.pending(), [])
})
