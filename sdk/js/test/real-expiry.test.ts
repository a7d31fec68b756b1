import assert from 'node:assert/strict'
import { test } from 'node:test'

import WebSocket from 'ws'

import { connect } from '../src/http.js'
import { Broker, withTokens, within } from './broker.js'
import { short } from './fake.js'

test('a session goes on with one token after the other', async (t) => {
  const b = await Broker.start(t, withTokens)
  const rights = ['--publish', 'a', '--subscribe', 'a']
  const reasons: string[] = []
  const c = connect(`ws://${b.address}`, {
    transport: 'websocket',
    WebSocket: WebSocket as never,
    token: ({ reason }) => (reasons.push(reason), b.token(...rights, '--ttl', '6s')),
  })
  t.after(() => c.close())
  const states: string[] = []
  c.on('status', ({ state }) => states.push(state))
  const s = c.subscribe('a', { retained: false })
  await within('ready', s.ready)
  // the broker gives a session 30 s after the end of its token: without Refresh this one would not see the eighth
  await within('the eighth token', (async () => {
    while (reasons.length < 9) await new Promise((resolve) => setTimeout(resolve, 100))
  })(), 120)
  const seen = (async () => {
    for await (const m of s) return m.data
  })()
  await c.publish('a', 'still here')
  assert.equal(await within('a message', seen), 'still here')
  assert.deepEqual([reasons[0], new Set(reasons.slice(1)), states], ['connect', new Set(['expiring']), ['connected']])
})

// A broker ends a session 30 s after its token has expired: this takes as long, once for both transports.
test('sessions whose token has expired are ended, and go on with a fresh one without a gap', async (t) => {
  const b = await Broker.start(t, withTokens)
  const rights = ['--publish', 'a', '--subscribe', 'a']
  const publisher = connect(`ws://${b.address}`, { WebSocket: WebSocket as never, token: await b.token(...rights) })
  t.after(() => publisher.close())
  const all = (['websocket', 'sse'] as const).map(async (transport) => {
    const tokens = [await b.token(...rights, '--ttl', '1s'), await b.token(...rights)]
    const reasons: string[] = []
    // who has no fresh token in time keeps the session until it ends
    const token = ({ reason }: { reason: string }) => (reason !== 'expiring' && tokens[reasons.push(reason) - 1]) || ''
    const c = connect(`ws://${b.address}`, { transport, WebSocket: WebSocket as never, token })
    t.after(() => c.close())
    const s = c.subscribe('a', { retained: false })
    const seen: unknown[] = []
    const told = (async () => {
      for await (const e of s.events()) {
        seen.push(short(e))
        if (seen.at(-1) === 'end') return
      }
    })()
    await within('ready', s.ready)
    await publisher.publish('a', 'before')
    await within(
      'the renewal',
      new Promise<void>((resolve) => c.on('status', ({ state }) => reasons.length === 2 && state === 'connected' && resolve())),
      60,
    )
    return { c, reasons, seen, told }
  })
  for (const { reasons } of await Promise.all(all)) assert.deepEqual(reasons, ['connect', 'token_expired'])
  await publisher.publish('a', 'end')
  for (const { told, seen } of await Promise.all(all)) {
    await within('the last message', told)
    assert.deepEqual(seen.filter((e) => e !== 'live' && e !== 'before'), ['end'])
  }
})
