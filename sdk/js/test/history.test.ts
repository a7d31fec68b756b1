import assert from 'node:assert/strict'
import { test } from 'node:test'

import { CarillonError } from '../src/errors.js'
import type { HistoryPage } from '../src/history.js'
import { cursorOf, none, tokenOf } from '../src/position.js'
import { at, FakeBroker, message, quiet, record, settled, term1, token } from './fake.js'
import { cursor, event, FakeHttp, id, said } from './fakehttp.js'

const code = (want: string) => (error: unknown) => error instanceof CarillonError && error.code === want
/** stored is a place in the store. */
const stored = (offset: number) => ({ _epoch: none, _seq: 0, _term: term1, _offset: offset })
const short = ({ messages, ...rest }: HistoryPage) => ({ messages: messages.map((m) => [m.topic, m.data, m.retained, m.cursor]), ...rest })

test('a page of the history is asked for and answered, and is no part of any subscription', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const seen = record(c.subscribe('a.*', { retained: false }))
  await settled()
  await socket.packets([4, socket.take(3)[1], token(5)])
  const page = c.history('a.*', { after: cursorOf(stored(3)), limit: 2 })
  await settled()
  assert.deepEqual(socket.take(19), [19, 2, 'a.*', { after: tokenOf(stored(3)), limit: 2 }])
  await socket.packets([10, 2, 2, 2], message(0, 'a.b', 'one', 4), [15, token(6)], message(0, 'a.c', 'two', 9), message(7, 'a.b', 'live'))
  await socket.packets([20, 2, tokenOf(stored(9)), { more: true, gap: 'trimmed' }])
  assert.deepEqual(short(await page), {
    messages: [['a.b', 'one', false, cursorOf(stored(4))], ['a.c', 'two', false, cursorOf(stored(9))]],
    cursor: cursorOf(stored(9)),
    more: true,
    gap: 'trimmed',
  })
  assert.deepEqual(seen, ['live'])
})

test('an empty page', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const page = c.history('a', { last: 10 })
  await settled()
  assert.deepEqual(socket.take(19), [19, 1, 'a', { last: 10 }])
  await socket.packets([20, 1, tokenOf(stored(9))])
  assert.deepEqual(await page, { messages: [], cursor: cursorOf(stored(9)), more: false, gap: undefined })
})

test('a page is asked for again when the connection is lost, from its beginning', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const page = c.history('a')
  await settled()
  assert.deepEqual(socket.take(19), [19, 1, 'a'])
  await socket.packets([10, 1, 2, 2], message(0, 'a', 'one', 4))
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept([2, 's', token(0, 0, '\x09\x02\x03\x04\x05\x06\x07\x08'), 0, { user: 'another' }])
  again.take(1)
  const [, request] = again.take(19)
  await again.packets([10, request, 2, 2], message(0, 'a', 'one', 4), message(0, 'a', 'two', 5), [20, request, tokenOf(stored(5))])
  assert.deepEqual((await page).messages.map((m) => m.data), ['one', 'two'])
})

test('what is wrong with the request for a page', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const page = quiet(c.history('a', { limit: -1.5 }))
  await settled()
  assert.deepEqual(socket.take(19), [19, 1, 'a', { limit: 0 }], 'what the broker can read')
  await socket.packets([23, 1, 4405, 'bad_args', ''])
  await assert.rejects(page, code('bad_args'))
  await assert.rejects(c.history(1 as never), TypeError)
  const abort = new AbortController()
  const given = quiet(c.history('a', { signal: abort.signal }))
  const nonsense = quiet(c.history('a', { after: 'nonsense' }))
  await settled()
  abort.abort(new Error('changed my mind'))
  await assert.rejects(given, /changed my mind/)
  await assert.rejects(nonsense, code('bad_position'))
  assert.equal(c.status.state, 'connected')
})

const page = (messages: object[], more: object = {}) => ({ messages, cursor: cursorOf(stored(9)), more: false, ...more })
const kept = (offset: number, data: unknown) => ({ topic: 'a', data, ts: 1, id: cursorOf(stored(offset)) })

test('a page over HTTP', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const first = c.history('a.>', { after: cursorOf(stored(3)), limit: 2 })
  const second = quiet(c.history('a', { after: '' }))
  await (await b.take('/v1/publish', 'OPTIONS')).json(null, 204)
  const r = await b.take('/v1/topics/a.%3E/history')
  assert.deepEqual(r.query, { after: cursorOf(stored(3)), limit: '2', filter: [] })
  await r.json(page([kept(4, 'one'), { topic: 'a', data_base64: 'AQI=', content_type: 'image/png', ts: 1, id: cursorOf(stored(9)) }], { more: true, gap: { reason: 'trimmed' } }))
  assert.deepEqual(short(await first), {
    messages: [['a', 'one', false, cursorOf(stored(4))], ['a', Uint8Array.of(1, 2), false, cursorOf(stored(9))]],
    cursor: cursorOf(stored(9)),
    more: true,
    gap: 'trimmed',
  })
  const other = await b.take('/v1/topics/a/history')
  assert.equal(other.url.search, '')
  await other.fail()
  await b.clock.advance(250)
  await (await b.take('/v1/publish', 'OPTIONS')).json(null, 204)
  await (await b.take('/v1/topics/a/history')).json({ code: 'forbidden' }, 403)
  await assert.rejects(second, code('forbidden'))
})

test('over HTTP a subscription begins with the last messages that are stored, up to where its stream begins', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const seen = record(c.subscribe('a', { last: 3 }))
  const start = await b.take('/v1/subscribe')
  assert.deepEqual(start.query, { mode: 'poll', filter: ['a'], retained: 'false' })
  await start.json({ messages: [], cursor: cursorOf(at(5, 8)) })
  const r = await b.take('/v1/topics/a/history')
  assert.deepEqual(r.query, { last: '3', filter: [] })
  await r.json(page([kept(4, 'one'), kept(8, 'two'), kept(9, 'later')]))
  const stream = await b.take('/v1/subscribe')
  assert.deepEqual(stream.query, { after: cursorOf(at(5, 8)), filter: ['a'], retained: 'false' })
  await stream.open(id(5), event('message', { topic: 'a', data: 'later', ts: 1 }, cursorOf(at(6, 9))))
  assert.deepEqual(seen, ['one', 'two', 'live', 'later'])
})

test('over HTTP it is a gap if nothing is stored of what a subscription would begin with, and the right to it is needed', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const seen = record(c.subscribe('a', { last: 3 }))
  const refused = record(c.subscribe('b', { last: 3 }))
  await b.start(5)
  await (await b.take('/v1/topics/a/history')).json({ code: 'unsupported' }, 501)
  await (await b.take('/v1/topics/b/history')).json({ code: 'forbidden', detail: 'no' }, 403)
  const stream = await b.take('/v1/subscribe')
  assert.deepEqual(stream.query, { after: cursor(5), filter: ['a'], retained: 'false' })
  await stream.open(id(5), said(6, 'a'))
  assert.deepEqual(seen, [{ gap: 'not_stored' }, 'live', 6])
  assert.deepEqual(refused, ['CarillonError: forbidden: no'])
})

test('while the store is away the last messages are asked for again', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const seen = record(c.subscribe('a', { last: 3 }))
  await b.start(5)
  await (await b.take('/v1/topics/a/history')).json({ code: 'store_unavailable' }, 503)
  await b.clock.advance(250)
  await b.start(5)
  await (await b.take('/v1/topics/a/history')).json(page([]))
  await (await b.take('/v1/subscribe')).open(id(5), said(6, 'a'))
  assert.deepEqual(seen, ['live', 6])
})

test('of subscriptions at different places none gets a message of the store twice, and none loses one', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const ahead = record(c.subscribe('a', { since: cursorOf(at(9, 20)), retained: false }))
  const back = record(c.subscribe('>', { since: cursorOf(at(5, 10)), retained: false }))
  const r = await b.take('/v1/subscribe')
  assert.deepEqual(r.query, { after: cursorOf(at(5, 10)), filter: ['a', '>'], retained: 'false' })
  const told = (offset: number) => event('message', { topic: 'a', data: offset, ts: 1 }, cursorOf(at(5, offset)))
  await r.open(told(15), told(20), told(21))
  assert.deepEqual([ahead, back], [[21], [15, 20, 21]])
  await r.end()
  await b.clock.advance(250)
  const again = await b.take('/v1/subscribe')
  assert.deepEqual(again.query, { after: cursorOf(at(5, 21)), filter: ['a', '>'], retained: 'false' })
  await again.open(told(22), event('message', { topic: 'a', data: 'log', ts: 1 }, cursorOf(at(30, 23))), event('live', {}, cursorOf(at(30, 23))))
  assert.deepEqual([ahead, back], [[21, 22, 'log', 'live'], [15, 20, 21, 22, 'log', 'live']])
})
