import assert from 'node:assert/strict'
import { test } from 'node:test'

import { systemClock } from '../src/options.js'
import { FakeBroker, quiet, settled } from './fake.js'

test('a time that no timer can take is a long one, not none', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  for (const ms of [Infinity, 2 ** 31, Number.MAX_SAFE_INTEGER]) {
    let fired = 0
    const timer = systemClock._setTimeout(() => fired++, ms)
    t.mock.timers.tick(3_600_000)
    assert.equal(fired, 0, String(ms))
    systemClock._clearTimeout(timer)
  }
})

test('nothing is left behind a client that is closed, also while a subscription waits to be asked for again', async () => {
  const b = new FakeBroker()
  const { c, socket } = await b.connected()
  quiet(c.subscribe('a').ready)
  await settled()
  await socket.packets([23, socket.take(3)[1], 4302, 'not_ready', '', { retry_after: 60_000 }])
  await c.close()
  assert.deepEqual(b.clock.pending(), [])
})

test('the clock goes on while the machine sleeps, and never goes back', (t) => {
  let date = Date.now()
  let ticks = 5_000
  t.mock.method(Date, 'now', () => date)
  t.mock.method(performance, 'now', () => ticks)
  const began = systemClock._now()
  const passed = () => Math.round(systemClock._now() - began)
  ticks += 100
  date += 100
  assert.equal(passed(), 100)
  date += 600_000 // the other one stands still while it sleeps, as most do
  assert.equal(passed(), 600_100, 'a publish is not repeated whose id is forgotten [REC-5]')
  date -= 3_600_000 // somebody sets it
  ticks += 50
  assert.equal(passed(), 600_150)
})
