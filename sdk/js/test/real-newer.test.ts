import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import WebSocket from 'ws'

import type { Client } from '../src/client.js'
import type * as sources from '../src/http.js'
import type { Options } from '../src/options.js'
import { Broker, within } from './broker.js'

const { connect } = (await import(new URL('../dist/carillon.js', import.meta.url).href)) as Pick<typeof sources, 'connect'>

function client(t: TestContext, b: Broker, options: Options = {}): Client {
  const c = connect(`ws://${b.address}/ws`, { WebSocket: WebSocket as never, backoff: { base: 2, cap: 20 }, ...options })
  t.after(() => c.close({ timeout: 0 }))
  return c
}

test('a real broker: requests are answered, and end at once when nobody listens and when it dies', async (t) => {
  const b = await Broker.start(t)
  const c = client(t, b)
  const service = client(t, b)
  await assert.rejects(within('a refusal', c.request('rpc.sum', [1, 2])), { code: 'no_responder' })
  const heard = new Promise<void>((resolve) => {
    service.subscribe('rpc.never', () => resolve())
  })
  const sum = service.subscribe('rpc.sum', (m) => service.reply(m, (m.data as number[]).reduce((a, n) => a + n)))
  await within('the service', sum.ready)
  const all = Array.from({ length: 50 }, (_, i) => c.request('rpc.sum', [i, 1]))
  assert.deepEqual((await within('the replies', Promise.all(all))).map((m) => m.data), Array.from({ length: 50 }, (_, i) => i + 1))
  const never = assert.rejects(c.request('rpc.never', 1), { code: 'unknown_outcome' })
  await within('a request', heard)
  await b.kill()
  await within('its end', never)
})

test('a real broker: a hundred subscriptions at once, each of which gets what is for it', async (t) => {
  const b = await Broker.start(t)
  const c = client(t, b)
  const seen = new Map<string, unknown>()
  const subs = Array.from({ length: 100 }, (_, i) => c.subscribe(`t.${i}`, (m) => seen.set(m.topic, m.data)))
  await within('all of them', Promise.all(subs.map((s) => s.ready)), 4) // before any would be asked for one by one
  await Promise.all(subs.map((_, i) => c.publish(`t.${i}`, i)))
  await within('the last message', (async () => { while (seen.size < 100) await new Promise(setImmediate) })())
  assert.equal(seen.get('t.42'), 42)
})

for (const transport of ['websocket', 'sse', 'poll'] as const) {
  test(`a real broker, ${transport}: a publish leaves out the client itself, and ends with its lifetime`, async (t) => {
    const b = await Broker.start(t)
    const c = client(t, b, { transport })
    const other = client(t, b)
    const seen: unknown[] = []
    const done = new Promise<void>((resolve) => {
      c.subscribe('a', (m) => void (seen.push(m.data), m.data === 'end' && resolve())).on('live', () => {
        void other.publish('a', 'theirs').then(() => c.publish('a', 'mine', { exclude: true })).then(() => c.publish('a', 'end', { ttl: 60_000 }))
      })
    })
    await within('the end', done)
    assert.deepEqual(seen, ['theirs', 'end'])
  })
}
