import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import WebSocket from 'ws'

import type { Client } from '../src/client.js'
import * as compress from '../src/compress.js'
import * as sources from '../src/http.js'
import type { Options } from '../src/options.js'
import * as presences from '../src/presence.js'
import { Broker, Proxy, withTokens, within } from './broker.js'

/** file is one of those for browsers, with the types of what it was made of. */
const file = async <T>(name: string) => (await import(new URL(`../dist/${name}.js`, import.meta.url).href)) as T

/** Every test runs with the sources, and with the files for browsers beside each other. */
const ways = [
  ['the sources', sources, compress, presences],
  ['the files for browsers', await file<typeof sources>('carillon'), await file<typeof compress>('compress'), await file<typeof presences>('presence')],
] as const

function client(t: TestContext, { connect }: Pick<typeof sources, 'connect'>, address: string, options: Options): Client {
  const c = connect(`ws://${address}/ws`, { WebSocket: WebSocket as never, backoff: { base: 2, cap: 20 }, ...options })
  t.after(() => c.close({ timeout: 0 }))
  return c
}

const large = (n: number) => Array.from({ length: 100 }, (_, i) => ({ id: i, order: n, name: `item ${i % 7}` }))

for (const [name, sdk, { deflate }, { presence, watchPresence }] of ways) {
  test(`${name}: compressed messages come in order with the others, and cost less`, async (t) => {
    const b = await Broker.start(t)
    const proxy = await Proxy.start(t, b)
    const plain = client(t, sdk, b.address, {})
    let bytes = 0
    class Counting extends WebSocket {
      constructor(url: string, protocol: string) {
        super(url, protocol)
        this.on('message', (m: ArrayBuffer) => (bytes += m.byteLength))
      }
    }
    const c = client(t, sdk, proxy.address, { compress: deflate, WebSocket: Counting as never })
    const seen: unknown[] = []
    let all!: () => void
    const whole = new Promise<void>((resolve) => (all = resolve))
    const s = c.subscribe('a.*', (m) => void (seen.push(m.error ?? m.data) === 300 && all()), { retained: false })
    await s.ready
    for (let n = 0; n < 300; n++) {
      void plain.publish(`a.${n % 3}`, n % 2 ? n : large(n))
      if (n === 150) proxy.cut()
    }
    await within('all of them', whole)
    assert.deepEqual(seen, Array.from({ length: 300 }, (_, n) => (n % 2 ? n : large(n))))
    const payload = JSON.stringify(large(0)).length
    assert.ok(bytes < (150 * payload) / 3, `${bytes} bytes came, for 150 payloads of about ${payload}`)
  })

  test(`${name}: retained values, histories and what was missed come compressed too`, async (t) => {
    const b = await Broker.start(t, 'topics: [{match: "kept.>", class: stored}]')
    const plain = client(t, sdk, b.address, {})
    for (let n = 0; n < 20; n++) await plain.publish('kept.a', large(n), { retain: true })
    const c = client(t, sdk, b.address, { compress: deflate })
    const page = await c.history('kept.a', { limit: 20 })
    assert.deepEqual(page.messages.map((m) => m.data), Array.from({ length: 20 }, (_, n) => large(n)))
    for await (const m of c.subscribe('kept.*')) {
      assert.deepEqual([m.retained, m.data], [true, large(19)])
      break
    }
    const missed: unknown[] = []
    for await (const m of c.subscribe('kept.a', { since: page.messages[9]!.cursor })) if (missed.push(m.data) === 10) break
    assert.deepEqual(missed, Array.from({ length: 10 }, (_, n) => large(n + 10)))
  })

  test(`${name}: who is there, and who comes and goes`, async (t) => {
    const b = await Broker.start(t, withTokens)
    const token = (sub: string, ...more: string[]) => b.run('token', 'new', '-c', 'carillon.yaml', '--sub', sub, '--subscribe', 'room.>', ...more).then((s) => s.trim())
    const rights = ['--presence', 'room.>']
    const c = client(t, sdk, b.address, { token: await token('eve', ...rights) })
    const join = async (sub: string) => {
      const joined = client(t, sdk, b.address, { token: await token(sub, ...rights) })
      await joined.subscribe('room.7', () => {}, { retained: false, join: true }).ready
      return joined
    }
    const ada = await join('ada')
    assert.deepEqual(await presence(c, 'room.7'), { count: 1, users: ['ada'] })
    const watch = watchPresence(c, 'room.7')
    const next = () => within('a change', watch.next()).then(({ value }) => value)
    assert.deepEqual(await next(), { count: 1, users: ['ada'] })
    await join('bob')
    assert.deepEqual(await next(), { count: 2, users: ['ada', 'bob'] })
    await ada.close()
    assert.deepEqual(await next(), { count: 1, users: ['bob'] })
    await watch.return()
    const http = client(t, sdk, b.address, { token: await token('eve', ...rights), transport: 'poll' })
    assert.deepEqual(await presence(http, 'room.7'), { count: 1, users: ['bob'] })
    const other = client(t, sdk, b.address, { token: await token('mallory') })
    await assert.rejects(presence(other, 'room.7'), (e: { code: string }) => e.code === 'forbidden')
    await assert.rejects(watchPresence(other, 'room.7').next(), (e: { code: string }) => e.code === 'forbidden')
  })
}
