import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import type { ClientImpl } from '../src/client.js'
import { cursorOf, parsePosition, type Position, tokenOf } from '../src/position.js'
import type { Sub } from '../src/subscription.js'
import { FakeBroker, settled, type Socket } from './fake.js'

type Fields = Record<string, unknown>
interface Step {
  send?: Record<string, Fields>
  receive?: Record<string, Fields>
  session?: string | null
  subscriptions?: Record<string, string>
  delivered?: number[]
}

const run = (hex: string) => Buffer.from(hex, 'hex').toString('latin1')
const hex = (s: string) => Buffer.from(s, 'latin1').toString('hex')

/** place reads "epoch seq term offset". */
function place(text: unknown): Uint8Array | null {
  if (typeof text !== 'string') return null
  const [epoch = '', seq, term = '', offset] = text.split(' ')
  return tokenOf({ _epoch: run(epoch), _seq: Number(seq), _term: run(term), _offset: Number(offset) })
}

const written = (p: Position | undefined) => (p ? `${hex(p._epoch)} ${p._seq} ${hex(p._term)} ${p._offset}` : null)

function packet(name: string, f: Fields): unknown[] {
  switch (name) {
    case 'Connected':
      return [2, 's', place(f['position']), 25_000]
    case 'Subscribed':
      return [4, f['id'], place(f['position'])]
    case 'Unsubscribed':
      return [6, f['id']]
    case 'Published':
      return [8, f['id'], f['seq'], f['offset'], 0]
    case 'Message':
      return [9, f['seq'], f['offset'], f['topic'], Buffer.from(f['payload'] as string, 'hex'), 1, { type: 'a/b', retain: f['retain'] ?? false }]
    case 'Replay':
      return [10, f['subscription'], f['count'], f['kind']]
    case 'RetainedEnd':
      return [11, f['subscription'], { reset: f['reset'] ?? false }]
    case 'Resumed':
      return [12, f['subscription'], place(f['position'])]
    case 'Gap':
      return [13, f['subscription'], f['reason'], place(f['from']), place(f['to'])]
    case 'Error':
      return [23, f['id'], f['code'], f['name'], f['detail'], { retry_after: f['retry_after'] ?? null }]
    case 'Histories':
      return [20, f['id'], place(f['position']), { more: f['more'] ?? false }]
    case 'Ping':
      return [15, place(f['position'])]
  }
  throw new Error(`the test cannot receive ${name}`)
}

/** Walk is a client that goes through the steps of a vector. */
class Walk {
  private readonly broker = new FakeBroker()
  private readonly subs = new Map<number, Sub>()
  private readonly delivered: number[] = []
  private c!: ClientImpl
  private socket!: Socket

  async step(s: Step): Promise<void> {
    for (const [name, f] of Object.entries(s.send ?? {})) await this.send(name, f)
    this.delivered.length = 0
    for (const [name, f] of Object.entries(s.receive ?? {})) await this.receive(name, f)
    await settled()
    if (s.delivered) assert.deepEqual(this.delivered.sort(), s.delivered)
    if (s.session !== undefined) assert.equal(written(this.c._pos), s.session)
    for (const [id, want] of Object.entries(s.subscriptions ?? {})) {
      const sub = this.subs.get(Number(id)) as Sub
      const at = sub._position(this.c._pos)
      assert.equal(written(at) + (sub._awaiting ? ' snapshot' : ''), want, `subscription ${id}`)
      if (sub._awaiting) assert.equal(sub._resumeAt(at), undefined)
    }
  }

  private async receive(name: string, f: Fields): Promise<void> {
    if (name === 'Connected') {
      this.c = this.broker.client()
      this.socket = await this.broker.accept(packet(name, f))
      this.socket.take(1)
    } else await this.socket.packets(packet(name, f))
  }

  private async send(name: string, f: Fields): Promise<void> {
    if (name === 'Subscribe') {
      const since = f['position'] ? cursorOf(parsePosition(Buffer.from(f['position'] as string, 'hex'))) : undefined
      const id = f['id'] as number
      const sub = this.c.subscribe(f['filter'] as string, () => this.delivered.push(id), {
        since,
        retained: f['retained'] as boolean,
        last: f['last'] as number,
        latest: f['latest'] as boolean,
        maxRate: f['max_rate'] as number,
      }) as Sub
      if (f['snapshot']) sub._awaiting = true // as one that was cut
      this.subs.set(id, sub)
      await settled()
      assert.equal(this.socket.take(3)[1], id)
    } else if (name === 'History') {
      void this.c.history(f['filter'] as string, { limit: f['limit'] as number })
      await settled()
      assert.deepEqual(this.socket.take(19), [19, f['id'], f['filter'], { limit: f['limit'] }])
    } else {
      assert.equal(name, 'Unsubscribe')
      this.subs.get(f['subscription'] as number)?.close()
      await settled()
      assert.deepEqual(this.socket.take(5).slice(1), [f['id'], f['subscription']])
    }
  }
}

for (const v of JSON.parse(readFileSync('../../spec/vectors/session.json', 'utf8')) as { name: string; steps: Step[] }[]) {
  test(v.name, async () => {
    const w = new Walk()
    for (const [i, s] of v.steps.entries()) {
      try {
        await w.step(s)
      } catch (error) {
        throw new Error(`step ${i + 1}: ${(error as Error).message}`, { cause: error })
      }
    }
  })
}
