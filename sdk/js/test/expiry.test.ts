// What a client does whose session ends for want of a fresh token, and which has no way to one ([REC-3]).
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { stableAfter } from '../src/backoff.js'
import type { CarillonError } from '../src/errors.js'
import { FakeBroker } from './fake.js'
import { FakeHttp } from './fakehttp.js'

test('without a token function what there is is shown once more when a session ends for want of a fresh one', async () => {
  for (const options of [{ token: 'x' }, {}]) {
    const b = new FakeBroker()
    const c = b.client(options)
    for (let n = 0; n < 3; n++) {
      const socket = await b.accept() // at once, each first time in a row
      assert.equal(socket.take(1)[2], options.token ?? null)
      await b.clock.advance(stableAfter)
      await socket.packets([24, 4100, 'token_expired', ''])
      assert.deepEqual([c.status.state, c.status.retryIn], ['reconnecting', 0])
      await b.clock.advance(0)
    }
    await (await b.accept(null)).packets([24, 4201, 'token_missing', '', { reconnect: false }])
    assert.deepEqual([c.status.state, c.status.error?.code], ['closed', 'token_missing'])
  }
})

test('a fixed token that has expired ends the client: before it is connected, and when it has been shown once more', async () => {
  for (const sessions of [[null], [undefined, null], [undefined, undefined]] as const) {
    const b = new FakeBroker()
    const c = b.client({ token: 'x' })
    for (const hello of sessions) {
      await (await b.accept(hello as null)).packets([24, 4100, 'token_expired', ''])
      await b.clock.advance(0)
    }
    assert.deepEqual([c.status.state, c.status.error?.code], ['closed', 'token_expired'])
    assert.equal(b.sockets.length, 0)
  }
})

test('a short session behind lost connections does not take the one time away that a token is shown once more', async () => {
  const b = new FakeBroker()
  const c = b.client({ token: 'x' })
  await (await b.accept()).drop()
  await b.clock.advance(250)
  await (await b.accept(null)).drop()
  await b.clock.advance(500)
  await (await b.accept()).packets([24, 4100, 'token_expired', ''])
  assert.equal(c.status.state, 'reconnecting')
  await c.close()
})

test('a fixed token that has expired is shown once more, not again and again, by who only publishes', async () => {
  const b = new FakeHttp()
  const c = b.client('sse', { token: 'x' })
  const publish = c.publish('a', 1).catch((error: unknown) => error)
  for (let n = 0; n < 2; n++) {
    await (await b.take('/v1/publish', 'OPTIONS')).json(null, 204)
    await (await b.take('/v1/publish', 'POST')).json({ code: 'token_expired' }, 401)
    await b.clock.advance(0)
  }
  assert.deepEqual([c.status.state, c.status.error?.code, ((await publish) as CarillonError).code], ['closed', 'token_expired', 'token_expired'])
  assert.equal(b.requests.length, 0)
})
