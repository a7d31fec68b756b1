import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Options } from '../src/options.js'
import { FakeBroker, message, record, settled, token } from './fake.js'

/** refreshing is a client of a session whose token has so long to live; tokens are t1, t2 and so on. */
async function refreshing(life: number, give = (n: number): string | Promise<string> => `t${n}`, options: Options = {}) {
  const b = new FakeBroker()
  const reasons: string[] = []
  const hello = [2, 's', token(0), 0, { expires: b.clock._date() + life, limits: { inflight: 7 } }]
  const { c, socket } = await b.connected({ token: ({ reason }) => give(reasons.push(reason)), ...options }, hello)
  /** refreshed answers the Refresh that the client has sent. */
  const refreshed = async (more: number) => {
    const [, id] = socket.take(17)
    await socket.packets([18, id, { expires: b.clock._date() + more, limits: { inflight: 9 } }])
  }
  return { b, c, socket, reasons, refreshed }
}

test('a fresh token is sent when four fifths of the time are over, again and again, and its limits hold', async () => {
  const { b, c, socket, reasons, refreshed } = await refreshing(100_000)
  await b.clock.advance(79_999)
  assert.deepEqual(reasons, ['connect'])
  await b.clock.advance(1)
  assert.deepEqual(reasons, ['connect', 'expiring'])
  assert.deepEqual(socket.sent[0], [17, 1, 't2'])
  assert.equal(c.limits['inflight'], 7)
  await refreshed(50_000)
  assert.equal(c.limits['inflight'], 9)
  await b.clock.advance(39_999)
  assert.equal(socket.sent.length, 0)
  await b.clock.advance(1)
  assert.deepEqual(socket.sent[0], [17, 2, 't3'])
  await refreshed(100_000)
  assert.deepEqual([c.status.state, b.sockets.length, socket.closed], ['connected', 0, undefined])
})

test('a fresh token is asked for 10 s before the end, and not again within 5 s', async () => {
  const { b, reasons, refreshed } = await refreshing(20_000)
  await b.clock.advance(9_999)
  assert.equal(reasons.length, 1)
  await b.clock.advance(1)
  assert.equal(reasons.length, 2)
  await refreshed(3_000)
  await b.clock.advance(4_999)
  assert.equal(reasons.length, 2)
})

test('a token that lives for ever, or longer than a timer takes, is not asked for at once', async () => {
  const { b: long, reasons } = await refreshing(400 * 86_400_000)
  assert.deepEqual([reasons, long.clock.pending()], [['connect'], [2 ** 31 - 1]])
  const b = new FakeBroker()
  await b.connected({ token: () => 't' }, [2, 's', token(0), 0])
  assert.deepEqual(b.clock.pending(), [])
})

test('a clock by which the token has expired already says nothing', async () => {
  const { b, reasons } = await refreshing(-3_600_000)
  assert.deepEqual(b.clock.pending(), [])
  assert.equal(reasons.length, 1)
})

test('a fixed token is not sent again', async () => {
  const { b } = await refreshing(100_000, undefined, { token: 'x' })
  assert.deepEqual(b.clock.pending(), [])
})

test('when no fresh token can be had it is asked for again in what is left of the time, and the session goes on', async () => {
  const { b, c, socket, reasons } = await refreshing(1_000_000, (n) => (n === 2 ? Promise.reject(new Error('away')) : `t${n}`))
  await b.clock.advance(800_000)
  assert.deepEqual(reasons, ['connect', 'expiring'])
  await b.clock.advance(160_000)
  assert.deepEqual(socket.take(17), [17, 1, 't3'])
  assert.equal(c.status.state, 'connected')
})

test('while nobody can decide about the fresh token it is sent again', async () => {
  const { b, socket, reasons, refreshed } = await refreshing(100_000)
  await b.clock.advance(80_000)
  await socket.packets([23, socket.take(17)[1], 4305, 'auth_unavailable', ''])
  await b.clock.advance(4_999)
  assert.equal(socket.sent.length, 0)
  await b.clock.advance(1)
  await socket.packets([23, socket.take(17)[1], 4305, 'auth_unavailable', '', { retry_after: 7_000 }])
  await b.clock.advance(6_999)
  assert.equal(socket.sent.length, 0)
  await b.clock.advance(1)
  assert.equal(socket.sent[0]?.[2], 't2')
  await refreshed(100_000)
  assert.deepEqual(reasons, ['connect', 'expiring'])
})

test('a token that is refused is not used, and the session lasts until its own ends; then the next one is asked for', async () => {
  const { b, c, socket, reasons } = await refreshing(100_000)
  await b.clock.advance(80_000)
  await socket.packets([23, socket.take(17)[1], 4402, 'forbidden', 'token_wrong_audience'])
  await b.clock.advance(19_000)
  assert.deepEqual([c.status.state, reasons.length, socket.sent.length, b.clock.pending().length], ['connected', 2, 0, 0])
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept()
  assert.equal(again.take(1)[2], 't1', 'the one that was not refused')
  await again.packets([24, 4100, 'token_expired', ''])
  await b.clock.advance(500)
  assert.equal((await b.accept()).take(1)[2], 't3')
  assert.deepEqual(reasons, ['connect', 'expiring', 'token_expired'])
})

test('the token of the next connection is the fresh one', async () => {
  const { b, socket, reasons, refreshed } = await refreshing(100_000)
  await b.clock.advance(80_000)
  await refreshed(100_000)
  await socket.drop()
  await b.clock.advance(250)
  assert.equal((await b.accept()).take(1)[2], 't2')
  assert.deepEqual(reasons, ['connect', 'expiring'])
})

test("somebody else's token ends the client with wrong_user", async () => {
  const { b, c, socket } = await refreshing(100_000)
  await b.clock.advance(80_000)
  await socket.packets([24, 4215, 'wrong_user', 'found a token of "eve"', { reconnect: false }])
  assert.deepEqual([c.status.state, c.status.error?.code], ['closed', 'wrong_user'])
})

test('a subscription that the fresh token does not cover ends with the reason, for good; others go on', async () => {
  const { b, c, socket, refreshed } = await refreshing(100_000)
  const lost = record(c.subscribe('a', { retained: false }))
  const kept = record(c.subscribe('b', { retained: false }))
  await settled()
  const [a, other] = [socket.take(3)[1], socket.take(3)[1]]
  await socket.packets([4, a, token(0)], [4, other, token(0)], message(1, 'a'))
  await b.clock.advance(80_000)
  await refreshed(100_000)
  await socket.packets([23, a, 4402, 'forbidden', 'no grant'], message(2, 'a'), message(3, 'b'))
  assert.deepEqual(lost, [1, 'CarillonError: forbidden: no grant'])
  assert.deepEqual(kept, [3])
  assert.deepEqual(socket.sent, [], 'there is nothing to unsubscribe')
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept()
  again.take(1)
  assert.deepEqual(again.sent.map((p) => p[2]), ['b'])
})

test('a token that cannot be had any more when its session has ended is not asked for again', async () => {
  let refuse!: (error: Error) => void
  const { b, socket, reasons } = await refreshing(100_000, (n) => (n === 2 ? new Promise<string>((_, reject) => (refuse = reject)) : `t${n}`))
  await b.clock.advance(80_000)
  await socket.drop()
  await b.clock.advance(250)
  await b.accept([2, 's2', token(0), 0, { expires: b.clock._date() + 50_000 }])
  refuse(new Error('late'))
  await settled()
  assert.deepEqual([b.clock.pending(), reasons], [[40_000], ['connect', 'expiring']])
})

test('the end of a session is the end of its timers, and what is fetched meanwhile is not sent', async () => {
  let give!: (token: string) => void
  const { b, c, socket, reasons } = await refreshing(100_000, (n) => (n === 2 ? new Promise<string>((resolve) => (give = resolve)) : `t${n}`))
  await b.clock.advance(80_000)
  await socket.drop()
  await b.clock.advance(250)
  const again = await b.accept([2, 's2', token(0), 0])
  again.take(1)
  give('late')
  await settled()
  assert.deepEqual([again.sent, socket.sent, reasons, b.clock.pending()], [[], [], ['connect', 'expiring'], []])
  await c.close()
  const other = await refreshing(100_000)
  await other.c.close()
  assert.deepEqual(other.b.clock.pending(), [])
})
