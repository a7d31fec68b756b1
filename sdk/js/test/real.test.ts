import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import WebSocket from 'ws'

import type { Client } from '../src/client.js'
import * as sources from '../src/http.js'
import type { Message } from '../src/message.js'
import type { Options, Transport } from '../src/options.js'
import type { Subscription } from '../src/subscription.js'
import { Broker, Proxy, withTokens, within } from './broker.js'
import { short } from './fake.js'

const file = new URL('../dist/carillon.js', import.meta.url).href
const bundle = (await import(file)) as Pick<typeof sources, 'connect' | 'CarillonError' | 'match' | 'escapeLevel'>

/** Every test of a transport runs with the file for browsers, that of WebSocket with the sources as well. */
const ways = [
  ['WebSocket', 'websocket', sources.connect],
  ['WebSocket, the file for browsers', 'websocket', bundle.connect],
  ['server-sent events', 'sse', bundle.connect],
  ['long-poll', 'poll', bundle.connect],
] as const

const quick = { base: 2, cap: 20 }

/** client is one that comes back quickly and is closed at the end of the test. */
function client(t: TestContext, connect: typeof sources.connect, address: string, options: Options): Client {
  const c = connect(`ws://${address}/ws`, { WebSocket: WebSocket as never, backoff: quick, ...options })
  t.after(() => c.close({ timeout: 0 }))
  return c
}

/** collect reads a subscription until done says so of what it has told, in short. */
async function collect(s: Subscription, done: (e: unknown, seen: unknown[]) => boolean): Promise<unknown[]> {
  const seen: unknown[] = []
  for await (const e of s.events()) {
    seen.push(short(e))
    if (done(seen.at(-1), seen)) return seen
  }
  throw new Error(`the subscription ended behind ${JSON.stringify(seen.slice(-5))}`)
}

/** numbers publishes from..to to the topic, in order, many at a time, and waits for the acknowledgements. */
async function numbers(c: Client, topic: string, from: number, to: number): Promise<void> {
  for (let n = from; n <= to; ) {
    const some = []
    for (; n <= to && some.length < 200; n++) some.push(c.publish(topic, n))
    await Promise.all(some)
    await turn()
  }
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

for (const [name, transport, connect] of ways) {
  test(`${name}: publish, retained values, live messages, clear`, async (t) => {
    const b = await Broker.start(t)
    const c = client(t, connect, b.address, { transport })
    const ack = await within('an acknowledgement', c.publish('orders.1', { total: 5 }, { retain: true, headers: { k: 'v' } }))
    assert.equal(ack.durability, 'committed')
    assert.equal(c.transport, transport)
    const s = c.subscribe('orders.*')
    const told = collect(s, (e) => e === undefined)
    await within('ready', s.ready)
    await c.publish('orders.2', 'text', { contentType: 'text/plain' })
    await c.publish('orders.3', Uint8Array.of(0, 255))
    await c.publish('orders.4', [1, { a: null }], { contentType: 'application/json' })
    await c.publish('other', 1)
    const receivers = await c.publish('orders.5', 5, { receivers: true })
    assert.equal(receivers.receivers, transport === 'poll' ? receivers.receivers : 1) // between two polls there is nobody
    await c.clear('orders.1')
    assert.deepEqual(await within('the messages', told), [{ retained: { total: 5 } }, 'snapshot', 'live', 'text', Uint8Array.of(0, 255), [1, { a: null }], 5, undefined])
    const again = c.subscribe('orders.*')
    assert.deepEqual(await within('an empty snapshot', collect(again, (e) => e === 'live')), ['snapshot', 'live'])
    await c.close()
  })

  test(`${name}: after kill -9 of the broker exactly one gap, and everything else in order`, async (t) => {
    const b = await Broker.start(t)
    const publisher = client(t, sources.connect, b.address, { transport: 'websocket' })
    const c = client(t, connect, b.address, { transport })
    const s = c.subscribe('n')
    let half!: () => void, resumed!: () => void
    const come = new Promise<void>((resolve) => (half = resolve))
    const gap = new Promise<void>((resolve) => (resumed = resolve)) // then the subscription is there again: what is published now is not in the gap
    const told = collect(s, (e) => {
      if (e === 100) half()
      if (typeof e === 'object') resumed()
      return e === 200
    })
    await within('ready', s.ready)
    await numbers(publisher, 'n', 1, 100)
    await within('the first half', come)
    const both = Promise.all([back(c), back(publisher)])
    await b.kill()
    await b.start()
    await within('the clients to be back', both)
    await within('the gap', gap)
    await numbers(publisher, 'n', 101, 200)
    const seen = await within('the last message', told)
    const gaps = seen.filter((e) => typeof e === 'object' && e !== null && 'gap' in e)
    assert.deepEqual(gaps, [{ gap: 'epoch' }])
    assert.deepEqual(seen.filter((e) => typeof e === 'number'), range(1, 200))
    assert.equal(seen.indexOf(gaps[0]), seen.indexOf(100) + 1, 'the gap stands where the restart was')
  })

  test(`${name}: connections that are cut lose nothing and repeat nothing`, async (t) => {
    const b = await Broker.start(t)
    const proxy = await Proxy.start(t, b)
    const publisher = client(t, sources.connect, b.address, { transport: 'websocket' })
    const c = client(t, connect, proxy.address, { transport })
    const s = c.subscribe('n')
    const wide = c.subscribe('>', { retained: false })
    const cuts = 20
    const last = cuts * 100
    const both = [s, wide].map((sub) => collect(sub, (e) => e === last))
    await within('ready', Promise.all([s.ready, wide.ready]))
    for (let n = 1; n <= last; n += 100) {
      await within('a connection', until(c, () => c.status.state === 'connected'))
      const batch = numbers(publisher, 'n', n, n + 99)
      await turn()
      proxy.cut()
      await batch
    }
    for (const told of both) {
      const seen = await within('the last message', told, 60)
      assert.deepEqual(seen.filter((e) => typeof e === 'number'), range(1, last))
      assert.deepEqual(seen.filter((e) => typeof e === 'object'), [], 'no gap')
    }
    t.diagnostic(`${cuts} cuts, ${proxy.connections} connections`)
  })

  test(`${name}: a slow application gets everything, and does not hold up another subscription`, async (t) => {
    const b = await Broker.start(t)
    const c = client(t, connect, b.address, { transport, buffer: { messages: 50 } })
    const publisher = client(t, sources.connect, b.address, { transport: 'websocket' })
    const slow = c.subscribe('n', { retained: false })
    const other = c.subscribe('other', { retained: false })
    const fast = collect(other, (e) => e === 'done')
    await within('ready', Promise.all([slow.ready, other.ready]))
    await numbers(publisher, 'n', 1, 500)
    await publisher.publish('other', 'done')
    await within('the other subscription', fast)
    const seen = await within('all of the slow one', collect(slow, (e) => e === 500))
    assert.deepEqual(seen.filter((e) => typeof e === 'number'), range(1, 500))
    assert.deepEqual(seen.filter((e) => typeof e === 'object'), [])
  })
}

/** back is when the client has lost its session and has another one. */
function back(c: Client): Promise<void> {
  let lost = c.status.state !== 'connected'
  return new Promise((resolve) => {
    const off = c.on('status', ({ state }) => {
      lost ||= state !== 'connected'
      if (!lost || state !== 'connected') return
      off()
      resolve()
    })
  })
}

for (const [what, refuse, swallow, want] of [
  ['WebSocket is blocked', /upgrade: websocket/i, undefined, 'sse'],
  ['WebSocket is blocked and streams are held back', /upgrade: websocket/i, /^GET \/v1\/subscribe\?after/, 'poll'],
] as const) {
  test(`where ${what}, the client goes by ${want} without being told`, async (t) => {
    const b = await Broker.start(t)
    const proxy = await Proxy.start(t, b)
    proxy.refuse = refuse
    proxy.swallow = swallow
    const c = client(t, bundle.connect, proxy.address, {})
    const s = c.subscribe('a')
    const told = collect(s, (e) => e === 'bye')
    await within('ready', s.ready)
    await within('the way', way(c, want))
    await c.publish('a', 'hello')
    await c.publish('a', 'bye')
    assert.deepEqual(await within('the messages', told), ['snapshot', 'live', 'hello', 'bye'])
  })
}

function way(c: Client, want: Transport): Promise<void> {
  return new Promise((resolve) => {
    const look = () => c.transport === want && resolve()
    c.on('status', look)
    look()
  })
}

for (const [name, transport, connect] of ways) {
  test(`${name}: a token whose time is up is replaced before the next connection, and nothing is missed`, async (t) => {
    const b = await Broker.start(t, withTokens)
    const proxy = await Proxy.start(t, b)
    const rights = ['--publish', 'a', '--subscribe', 'a']
    const reasons: string[] = []
    const publisher = client(t, sources.connect, b.address, { transport: 'websocket', token: await b.token(...rights) })
    const tokens = [await b.token(...rights, '--ttl', '1s'), await b.token(...rights)]
    const c = client(t, connect, proxy.address, { transport, token: ({ reason }) => tokens[reasons.push(reason) - 1] ?? '' })
    const s = c.subscribe('a', { retained: false })
    const told = collect(s, (e) => e === 'end')
    await within('ready', s.ready)
    await publisher.publish('a', 'before')
    const [, payload = ''] = tokens[0]!.split('.')
    const { exp } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { exp: number }
    await new Promise((resolve) => setTimeout(resolve, exp * 1000 + 1000 - Date.now())) // its leeway
    proxy.cut()
    await within('the renewal', until(c, () => reasons.length === 2 && c.status.state === 'connected'))
    await publisher.publish('a', 'end')
    assert.deepEqual((await within('the messages', told)).filter((e) => e !== 'live'), ['before', 'end'])
    assert.deepEqual(reasons, ['connect', transport === 'websocket' ? 'expired' : 'token_expired'])
  })

  test(`${name}: refusals come with their codes`, async (t) => {
    const b = await Broker.start(t, withTokens)
    const ended = async (options: Options) => {
      const c = client(t, connect, b.address, { transport, ...options })
      c.subscribe('a').ready.catch(() => {})
      await within('the end', until(c, () => c.status.state === 'closed'))
      return c.status.error?.code
    }
    assert.equal(await ended({}), 'token_missing')
    assert.equal(await ended({ token: 'not.a.token' }), 'token_malformed')
    assert.equal(await ended({ token: await b.token('--audience', 'shop') }), 'token_wrong_audience')
    assert.equal(await ended({ token: await b.token('--issuer', 'https://elsewhere') }), 'token_wrong_issuer')
    const c = client(t, connect, b.address, { transport, token: await b.token('--publish', 'a', '--subscribe', 'a.>') })
    const code = (want: string) => (e: unknown) => (e as { code: string }).code === want
    const good = c.subscribe('a.b')
    const bad = c.subscribe('b')
    good.on('error', () => {})
    await assert.rejects(within('a refusal', bad.ready), code('forbidden'))
    await within('the other subscription', good.ready)
    await assert.rejects(c.publish('b', 1), code('forbidden'))
    await assert.rejects(c.publish('a', new Uint8Array(70_000)), code('too_large'))
    await assert.rejects(c.publish('a.*', 1), code('bad_topic'))
    await assert.rejects(within('a refusal', c.subscribe('a..b').ready), code('bad_filter'))
    assert.equal((await c.publish('a', 1)).durability, 'appended')
  })
}

function until(c: Client, done: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = () => done() && resolve()
    c.on('status', look)
    look()
  })
}

test('messages of the Go SDK are read, and it reads those of this one', async (t) => {
  const b = await Broker.start(t)
  for (const [name, transport, connect] of ways) {
    const c = client(t, connect, b.address, { transport })
    const got: [unknown, string, object][] = []
    const s = c.subscribe('go', (m: Message) => void got.push([m.data, m.contentType, { ...m.headers }]), { retained: false })
    await within('ready', s.ready)
    const last = new Promise<void>((resolve) => s.on('message', (m) => m.data === 'end' && resolve()))
    await b.run('pub', 'go', '{"a":[1,-7,4294967296,1.5,null,true,"é"]}', '--msgpack', '-H', 'k=v')
    await b.run('pub', 'go', '{"a":1}', '--json')
    await b.run('pub', 'go', 'plain')
    await b.run('pub', 'go', '\u0001\u0002', '--raw')
    await b.run('pub', 'go', '"end"', '--msgpack')
    await within('the messages', last)
    const json = transport === 'websocket' ? 'application/json' : ''
    assert.deepEqual(got, [
      [{ a: [1, -7, 2 ** 32, 1.5, null, true, 'é'] }, '', { k: 'v' }],
      [{ a: 1 }, json, {}],
      ['plain', 'text/plain', {}],
      [Uint8Array.of(1, 2), 'application/octet-stream', {}],
      ['end', '', {}],
    ], name)

    const topic = `js.${transport}`
    await c.publish(`${topic}.1`, { a: [1, -7, 2 ** 40, 1.5, null, 'é'] }, { retain: true, headers: { k: 'v' } })
    await c.publish(`${topic}.2`, { a: 1 }, { retain: true, contentType: 'application/json' })
    await c.publish(`${topic}.3`, 'plain', { retain: true, contentType: 'text/plain' })
    const lines = (await b.run('sub', `${topic}.*`, '--json', '--count', '3')).trim().split('\n').map((l) => JSON.parse(l))
    const read = Object.fromEntries(lines.map((l) => [l.topic.slice(-1), l.data]))
    assert.deepEqual(read, { 1: { a: [1, -7, 2 ** 40, 1.5, null, 'é'] }, 2: { a: 1 }, 3: 'plain' }, name)
    s.close()
  }
})

test('the file for browsers has what its description says', () => {
  assert.deepEqual(Object.keys(bundle).sort(), ['CarillonError', 'connect', 'escapeLevel', 'match'])
  assert.ok(bundle.match('a.*', 'a.b'))
  assert.equal(bundle.escapeLevel('a.b'), 'a%2Eb')
})
