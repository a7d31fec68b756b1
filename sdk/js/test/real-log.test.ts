import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import WebSocket from 'ws'

import type { Client } from '../src/client.js'
import * as sources from '../src/http.js'
import type { Options } from '../src/options.js'
import { Broker, Proxy, within } from './broker.js'
import { short } from './fake.js'

const { connect } = (await import(new URL('../dist/carillon.js', import.meta.url).href)) as Pick<typeof sources, 'connect'>
const storing = 'topics: [{match: "stored.>", class: stored}]'

function client(t: TestContext, address: string, options: Options): Client {
  const c = connect(`ws://${address}/ws`, { WebSocket: WebSocket as never, backoff: { base: 2, cap: 20 }, ...options })
  t.after(() => c.close({ timeout: 0 }))
  return c
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

/** reading is what a subscription has told, in short, and a promise of that it has told something. */
function reading(c: Client, ...args: Parameters<Client['subscribe']> extends [string, ...infer _] ? [string, object] : never) {
  const s = c.subscribe(...args)
  const seen: unknown[] = []
  let look = () => {}
  void (async () => {
    for await (const e of s.events()) {
      seen.push(short(e))
      look()
    }
  })()
  const until = (last: unknown) =>
    within(
      `${last}`,
      new Promise<void>((resolve) => {
        look = () => seen.includes(last) && resolve()
        look()
      }),
    )
  return { s, seen, until }
}

for (const transport of ['websocket', 'sse', 'poll'] as const) {
  test(`${transport}: the history of stored topics in pages, the last messages, and on from a cursor`, async (t) => {
    const b = await Broker.start(t, storing)
    const publisher = client(t, b.address, { transport: 'websocket' })
    for (const n of range(1, 5)) await publisher.publish('stored.a', n)
    const c = client(t, b.address, { transport })
    const seen: unknown[] = []
    let after = ''
    for (let more = true; more; ) {
      const page = await within('a page', c.history('stored.*', { after, limit: 2 }))
      assert.ok(page.messages.length <= 2)
      assert.equal(page.gap, undefined)
      seen.push(...page.messages.map((m) => m.data))
      ;({ cursor: after, more } = page)
    }
    assert.deepEqual(seen, range(1, 5))
    assert.deepEqual((await c.history('stored.a', { last: 2 })).messages.map((m) => m.data), [4, 5])
    await assert.rejects(c.history('memory'), { code: 'unsupported' })
    const last = reading(c, 'stored.a', { last: 3 })
    await last.until('live')
    last.s.close()
    const page = await c.history('stored.a', { limit: 3 })
    const since = reading(c, 'stored.a', { since: page.cursor })
    await since.until(5)
    await publisher.publish('stored.a', 6)
    await since.until(6)
    assert.deepEqual(last.seen, [3, 4, 5, 'live'])
    assert.deepEqual(since.seen.filter((e) => e !== 'live'), [4, 5, 6])
  })

  test(`${transport}: kill -9 of the broker loses nothing of a stored topic, and tells no gap`, async (t) => {
    const b = await Broker.start(t, storing)
    const publisher = client(t, b.address, { transport: 'websocket' })
    const c = client(t, b.address, { transport })
    const { s, seen, until } = reading(c, 'stored.n', {})
    await within('ready', s.ready)
    for (const round of [0, 1, 2]) {
      for (const n of range(round * 100 + 1, round * 100 + 100)) await publisher.publish('stored.n', n)
      if (round < 2) {
        await b.kill()
        await b.start()
      }
    }
    await until(300)
    assert.deepEqual(seen.filter((e) => typeof e === 'number'), range(1, 300))
    assert.deepEqual(seen.filter((e) => typeof e === 'object'), [], 'no gap')
  })
}

test('publishes are applied once, in order, whatever connections are cut', async (t) => {
  const b = await Broker.start(t, storing)
  const proxy = await Proxy.start(t, b)
  const c = client(t, proxy.address, { transport: 'websocket', pendingLimit: 2000 })
  const reader = client(t, b.address, { transport: 'websocket' })
  const all = [reading(reader, 'stored.n', { retained: false }), reading(reader, 'n', { retained: false })]
  await Promise.all(all.map(({ s }) => s.ready))
  const acks = []
  for (let n = 1; n <= 2000; n++) {
    acks.push(c.publish(n % 2 ? 'n' : 'stored.n', n))
    if (n % 50 === 0) await turn()
    if (n % 200 === 100) proxy.cut()
  }
  const duplicates = (await within('the acknowledgements', Promise.all(acks))).filter((a) => a.duplicate).length
  for (const [i, { until }] of all.entries()) await until(2000 - i)
  const seen = all.map((r) => r.seen.filter((e) => typeof e === 'number'))
  assert.deepEqual(seen, [range(1, 1000).map((n) => n * 2), range(1, 1000).map((n) => n * 2 - 1)])
  t.diagnostic(`${proxy.connections} connections, ${duplicates} duplicates`)
})

test('a subscription that is held back gets the newest of each topic, and no more than it asked for', async (t) => {
  const b = await Broker.start(t, storing)
  const c = client(t, b.address, { transport: 'websocket' })
  const slow = reading(c, 'n.*', { maxRate: 20, retained: false })
  const latest = reading(c, 'n.*', { latest: true, retained: false })
  await Promise.all([slow.s.ready, latest.s.ready])
  for (const n of range(1, 500)) await c.publish(`n.${n % 2}`, n)
  for (const r of [slow, latest]) {
    await r.until(499)
    await r.until(500)
    const numbers = r.seen.filter((e) => typeof e === 'number') as number[]
    assert.deepEqual(numbers, [...new Set(numbers)].sort((x, y) => x - y), 'in order, none twice')
    assert.deepEqual(r.seen.filter((e) => typeof e === 'object'), [], 'no gap')
  }
  assert.ok(slow.seen.length < 400, `${slow.seen.length} of 500`)
})
