import assert from 'node:assert/strict'
import { test } from 'node:test'

import { CarillonError } from '../src/errors.js'
import { type Members, presence, watchPresence } from '../src/presence.js'
import { FakeBroker, message, quiet, settled, token } from './fake.js'
import { FakeHttp } from './fakehttp.js'

const code = (want: string) => (error: unknown) => error instanceof CarillonError && error.code === want

test('who is there is asked for and answered [PRE-4]', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const few = presence(c, 'room.7')
  const many = presence(c, 'room.8')
  const no = quiet(presence(c, 'room.9'))
  await settled()
  assert.deepEqual([socket.take(21), socket.take(21), socket.take(21)], [[21, 1, 'room.7'], [21, 2, 'room.8'], [21, 3, 'room.9']])
  await socket.packets([22, 2, 1_001], [22, 1, 2, { users: ['ada', 'bob'] }], [23, 3, 4402, 'forbidden', 'no'])
  assert.deepEqual(await few, { count: 2, users: ['ada', 'bob'] })
  assert.deepEqual(await many, { count: 1_001 })
  await assert.rejects(no, code('forbidden'))
  await socket.packets([22, 99, 5], [22, 1, 2]) // that nobody waits for
  assert.equal(c.status.state, 'connected')
})

test('a list of something else than users is none', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const there = presence(c, 'room.7')
  await settled()
  await socket.packets([22, socket.take(21)[1], 1, { users: [1] }])
  assert.deepEqual(await there, { count: 1 })
})

test('it waits for a connection, and is asked again when that is lost', async () => {
  const b = new FakeBroker()
  const c = b.client()
  const there = presence(c, 'room.7')
  const first = await b.accept()
  await settled()
  first.take(1)
  assert.deepEqual(first.take(21), [21, 1, 'room.7'])
  await first.drop()
  await b.clock.advance(250)
  const second = await b.accept()
  second.take(1)
  const [, id] = second.take(21)
  await second.packets([22, id, 0, { users: [] }])
  assert.deepEqual(await there, { count: 0, users: [] })
})

test('it is given up by a signal, in time, and when the client is closed', async () => {
  const b = new FakeBroker()
  const { c } = await b.connected()
  const abort = new AbortController()
  const given = quiet(presence(c, 'a', { signal: abort.signal }))
  const late = quiet(presence(c, 'a', { timeout: 1_000 }))
  const left = quiet(presence(c, 'a'))
  abort.abort(new Error('changed my mind'))
  await assert.rejects(given, /changed my mind/)
  await b.clock.advance(1_000)
  await assert.rejects(late, code('connection'))
  const closing = c.close({ timeout: 0 })
  await b.clock.advance(0)
  await closing
  await assert.rejects(left, code('closed'))
  await assert.rejects(presence(c, 1 as never), TypeError)
})

test('over HTTP', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const there = presence(c, 'room.7')
  const no = quiet(presence(c, 'a.>'))
  await (await b.take('/v1/publish', 'OPTIONS')).json(null, 204)
  const r = await b.take('/v1/presence')
  assert.equal(r.url.search, '?filter=room.7')
  await r.json({ topic: 'room.7', count: 2, users: ['ada', 'bob'] })
  assert.deepEqual(await there, { count: 2, users: ['ada', 'bob'] })
  await (await b.take('/v1/presence')).json({ code: 'bad_topic' }, 400)
  await assert.rejects(no, code('bad_topic'))
})

/** watched is a watch that has been told who is there first. */
async function watched(users: string[]) {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const abort = new AbortController()
  const seen: (Members | string)[] = []
  const run = async () => {
    for await (const m of watchPresence(c, 'room', { signal: abort.signal })) seen.push(m)
    seen.push('end')
  }
  const over = run().catch((error: unknown) => void seen.push(String(error)))
  await settled()
  const [, id, filter] = socket.take(3)
  assert.equal(filter, '$presence.room')
  assert.deepEqual(socket.sent, [], 'it asks once the changes come') // [PRE-5]
  await socket.packets([4, id, token(0)])
  await answer(socket, users)
  return { b, c, socket, seen, abort, over }
}

type Socket = Awaited<ReturnType<FakeBroker['accept']>>

async function answer(socket: Socket, users: string[]): Promise<void> {
  const [, id] = socket.take(21)
  await socket.packets([22, id, users.length, { users }])
}

const change = (count: number, joined?: string[], left?: string[]) => message(0, '$presence.room', { count, joined, left })

test('changes are applied, in the order of bytes, and told if they are any [PRE-5]', async () => {
  const { socket, seen, abort, over } = await watched(['ada', 'bob'])
  await socket.packets(change(3, ['Zoe', 'ada'], []), change(3, [], []), change(2, ['\u{1f600}', '\uffee'], ['ada', 'bob', 'Zoe']))
  assert.deepEqual(seen, [
    { count: 2, users: ['ada', 'bob'] },
    { count: 3, users: ['Zoe', 'ada', 'bob'] },
    { count: 2, users: ['\uffee', '\u{1f600}'] },
  ])
  abort.abort()
  await over
  assert.equal(seen.at(-1), 'end')
})

test('it asks again when a change does not fit, names nobody, or may be missing', async () => {
  const { b, socket, seen } = await watched(['ada'])
  await socket.packets(change(3, ['bob'], []))
  await answer(socket, ['ada', 'bob', 'carl'])
  await socket.packets(change(1_001))
  await socket.packets(change(1_000))
  await answer(socket, ['ada'])
  await socket.packets(message(0, '$presence.room', 'nonsense'))
  await answer(socket, ['ada'])
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept()
  again.take(1)
  const [, id] = again.take(3)
  await again.packets([4, id, token(0)], [12, id, token(0)])
  await answer(again, ['ada', 'dan'])
  assert.deepEqual(seen, [
    { count: 1, users: ['ada'] },
    { count: 3, users: ['ada', 'bob', 'carl'] },
    { count: 1_001 },
    { count: 1, users: ['ada'] },
    { count: 2, users: ['ada', 'dan'] },
  ])
})

test('it asks later when it has asked too often, and throws what is refused for good', async () => {
  const { b, socket, seen, over } = await watched(['ada'])
  await socket.packets(change(5))
  const [, id] = socket.take(21)
  await socket.packets([23, id, 4300, 'rate_limited', '', { retry_after: 1_000 }])
  assert.deepEqual(socket.sent, [])
  await b.clock.advance(1_250)
  await answer(socket, ['bob'])
  await socket.packets(change(5))
  await socket.packets([23, socket.take(21)[1], 4402, 'forbidden', 'no'])
  await over
  assert.deepEqual(seen, [{ count: 1, users: ['ada'] }, { count: 1, users: ['bob'] }, 'CarillonError: forbidden: no'])
  await settled()
  assert.equal(socket.take(5)[0], 5, 'the changes are not wanted any more')
})

test('watching ends with a client that has ended for want of a fresh token', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected({ token: 'fixed' })
  const there = quiet(watchPresence(c, 'room').next())
  await settled()
  await socket.packets([4, socket.take(3)[1], token(0)])
  socket.take(21)
  await socket.packets([24, 4101, 'token_expired', ''])
  await b.clock.advance(250)
  await (await b.accept(null)).packets([24, 4101, 'token_expired', ''])
  assert.equal(c.status.state, 'closed')
  await b.clock.advance(60_000)
  assert.deepEqual(b.clock.pending(), [])
  await assert.rejects(there, code('token_expired'))
})
