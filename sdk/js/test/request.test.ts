import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Client } from '../src/client.js'
import type { CarillonError } from '../src/errors.js'
import { cursor, FakeHttp } from './fakehttp.js'
import { FakeBroker, message, quiet, settled, type Socket, token } from './fake.js'

type Headers = Record<string, string>

/** asked takes the request that the client has sent, behind the subscription of its inbox if it is the first: its headers and its id. */
async function asked(socket: Socket, first = true): Promise<{ headers: Headers; id: number }> {
  await settled()
  if (first) {
    const [, id, filter] = socket.take(3)
    assert.equal(filter, '$inbox.s.>')
    await socket.packets([4, id, token(0)])
  }
  const [, id, , , options] = socket.take(7) as [number, number, string, Uint8Array, { headers: Headers; receivers: boolean }]
  assert.equal(options.receivers, true)
  return { headers: options.headers, id }
}

/** reply is a message of the inbox. */
function reply(headers: Headers, value: unknown): unknown[] {
  const m = message(0, headers['reply-to'] as string, value)
  return [...m, { headers: { 'correlation-id': headers['correlation-id'] } }]
}

const code = (want: string) => (e: CarillonError) => e.code === want

test('a request gets the reply that is for it, whatever comes in between [REQ-1]', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const one = c.request('rpc.sum', [1, 2], { headers: { k: 'v' } })
  const first = await asked(socket)
  const two = c.request('rpc.sum', [3, 4])
  const second = await asked(socket, false)
  assert.equal(first.headers['k'], 'v')
  assert.match(first.headers['reply-to'] as string, /^\$inbox\.s\.\w+$/)
  assert.notEqual(first.headers['correlation-id'], second.headers['correlation-id'])
  await socket.packets([8, first.id, 1, 0, 0, { receivers: 1 }], reply(second.headers, 7), reply({ ...first.headers, 'correlation-id': 'other' }, 0))
  assert.equal((await two).data, 7)
  await socket.packets(reply(first.headers, 3))
  assert.equal((await one).data, 3)
  await socket.packets(reply(first.headers, 4), [8, second.id, 2, 0, 0, { receivers: 1 }]) // too late, and of no interest any more
  assert.equal(c.status.state, 'connected')
})

test('a reply goes where the request says, with its correlation id', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const request = { headers: { 'reply-to': '$inbox.x.1', 'correlation-id': '9', other: 'o' } } as never
  void c.reply(request, 3, { id: 'm', headers: { k: 'v' } }).catch(() => {})
  await settled()
  assert.deepEqual(socket.take(7).slice(2), ['$inbox.x.1', Uint8Array.of(3), { headers: { 'correlation-id': '9', k: 'v' }, mid: 'm' }])
  await assert.rejects(c.reply({ headers: {} } as never, 1), TypeError)
})

test('a request that nobody is there to hear ends at once [REQ-4]', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const r = quiet(c.request('a', 1))
  const { id } = await asked(socket)
  await socket.packets([8, id, 1, 0, 0, { receivers: 0 }])
  await assert.rejects(r, (e: CarillonError) => e.code === 'no_responder' && e.retryable)
})

test('a request that is refused ends with the refusal, also that of its inbox', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const r = quiet(c.request('a', 1))
  const { id } = await asked(socket)
  await socket.packets([23, id, 4400, 'forbidden', 'no'])
  await assert.rejects(r, code('forbidden'))
  const other = new FakeBroker()
  const old = await other.connected()
  const no = quiet(old.c.request('a', 1))
  await settled()
  await old.socket.packets([23, old.socket.take(3)[1], 4400, 'forbidden', 'no'])
  await assert.rejects(no, code('forbidden'))
})

for (const acknowledged of [true, false]) {
  test(`a request ${acknowledged ? 'that was acknowledged' : 'on its way'} ends with its session, and is not made again [REQ-4]`, async () => {
    const b = new FakeBroker()
    const { c, socket } = await b.connected()
    const r = quiet(c.request('a', 1))
    const { id } = await asked(socket)
    if (acknowledged) await socket.packets([8, id, 1, 0, 0, { receivers: 1 }])
    await socket.drop()
    await assert.rejects(r, code('unknown_outcome'))
    await assert.rejects(c.request('a', 1), code('connection'), 'there is no inbox before there is a session')
    await b.clock.advance(250)
    const again = await b.accept([2, 's', token(0), 0])
    again.take(1)
    assert.deepEqual(again.sent, [], 'neither the request nor the inbox')
    const next = c.request('a', 2)
    const { headers } = await asked(again)
    await again.packets(reply(headers, 5))
    assert.equal((await next).data, 5)
  })
}

test('a request waits for its reply as long as it is told to', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  const abort = new AbortController()
  const all: [Client, Promise<unknown>][] = [
    [c, quiet(c.request('a', 1))],
    [c, quiet(c.request('a', 1, { timeout: 500 }))],
    [c, quiet(c.request('a', 1, { signal: abort.signal }))],
  ]
  for (const first of [true, false, false]) {
    const { id } = await asked(socket, first)
    await socket.packets([8, id, 1, 0, 0, { receivers: 1 }])
  }
  abort.abort(new Error('mine'))
  await assert.rejects(all[2]![1], (e: CarillonError) => e.code === 'unknown_outcome' && (e.cause as Error).message === 'mine')
  const over: number[] = []
  all.forEach(([, r], i) => r.catch(() => over.push(i)))
  await b.clock.advance(499)
  assert.deepEqual(over, [2])
  await b.clock.advance(1)
  assert.deepEqual(over, [2, 1])
  await b.clock.advance(9_499)
  assert.deepEqual(over, [2, 1])
  await b.clock.advance(1)
  await assert.rejects(all[0]![1], code('unknown_outcome'))
  assert.deepEqual(b.clock.pending().filter((ms) => ms < 20_000), [])
})

test('a request waits for the first connection, and close waits for the reply', async () => {
  const b = new FakeBroker()
  const c = b.client()
  const r = c.request('a', 1)
  const socket = await b.accept([2, 's', token(0), 0])
  socket.take(1)
  const { headers } = await asked(socket)
  const closed = c.close()
  await settled()
  assert.equal(c.status.state, 'connected')
  await socket.packets(reply(headers, 5))
  assert.equal((await r).data, 5)
  await closed
})

test('what goes over WebSocket alone is refused over HTTP: requests, and join', async () => {
  const b = new FakeHttp()
  const c = b.client('sse')
  const s = c.subscribe('room.7', { join: true })
  await assert.rejects(s.ready, code('unsupported'))
  await (await b.take('/v1/publish', 'OPTIONS')).json({})
  await assert.rejects(c.request('a', 1), code('unsupported'))
})

test('over HTTP the broker is told the origin of a client, and what a publish leaves out [CON-11] [PUB-14]', async () => {
  const b = new FakeHttp()
  const c = b.client('sse', { origin: 'mine' })
  c.subscribe('a')
  const poll = await b.take('/v1/subscribe')
  assert.equal(poll.url.searchParams.get('origin'), 'mine')
  await poll.json({ messages: [], cursor: cursor(1) })
  void c.publish('a', 1, { exclude: true, ttl: 500 }).catch(() => {})
  await settled()
  const { body } = b.requests.find((r) => r.method === 'POST') as unknown as { body: Record<string, unknown> }
  assert.deepEqual([body['exclude'], body['ttl']], ['mine', '500ms'])
})

test('a request does not wait for the first connection longer than it is told to, nor behind its signal', async () => {
  const b = new FakeBroker()
  const c = b.client()
  const abort = new AbortController()
  const outcomes: unknown[] = []
  for (const options of [{ timeout: 1_000 }, { signal: abort.signal }]) void c.request('a', 1, options).catch((e: CarillonError) => outcomes.push(e.code ?? e))
  await b.clock.advance(999)
  assert.deepEqual(outcomes, [])
  await b.clock.advance(1)
  assert.deepEqual(outcomes, ['connection'])
  abort.abort('left')
  await settled()
  assert.deepEqual(outcomes, ['connection', 'left'])
  const socket = await b.accept()
  assert.deepEqual(socket.sent.map((p) => p[0]), [1], 'nothing of them is sent')
})
