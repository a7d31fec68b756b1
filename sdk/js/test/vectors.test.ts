import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { decode } from '@msgpack/msgpack'

import { CarillonError, retryable } from '../src/errors.js'
import { type ClientImpl } from '../src/client.js'
import { deflate } from '../src/compress.js'
import { encode, encodeSubscribes, readPackets, shapes, type Wanted } from '../src/packets.js'
import { cursorOf, parseCursor, parsePosition, type Position, tokenOf } from '../src/position.js'
import { presence } from '../src/presence.js'
import { Reader } from '../src/reader.js'
import { msgpack } from '../src/writer.js'
import { covers, escapeLevel, match, unescapeLevel } from '../src/topic.js'

// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Vector = { name: string; hex: string; error?: string } & Record<string, any>

function vectors(kind: string): Vector[] {
  return JSON.parse(readFileSync(`../../spec/vectors/${kind}.json`, 'utf8'))
}

function each(kind: string, run: (v: Vector) => void): void {
  for (const v of vectors(kind)) test(`${kind}: ${v.name}`, () => run(v))
}

const unhex = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'))
const hex = (b: Uint8Array) => Buffer.from(b).toString('hex')

/** outcome is what f returns, or the code that it refuses with. */
function outcome<T>(f: () => T): T | { error: string } {
  try {
    return f()
  } catch (error) {
    assert.ok(error instanceof CarillonError, String(error))
    return { error: error.code }
  }
}

/** text is the bytes as text; undefined for bytes that are none, which a string of JavaScript cannot be made of. */
function text(v: Vector, plain: string): string | undefined {
  if (typeof v[plain] === 'string') return v[plain]
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(unhex(v.hex))
  } catch {
    return undefined
  }
}

each('gate', (v) => {
  const got = outcome(() => {
    const r = new Reader(unhex(v.hex))
    r._value()
    return r._at
  })
  assert.deepEqual(got, v.error ? { error: v.error } : v['length'])
})

each('match', (v) => assert.equal(match(v['filter'], v['topic']), v['match']))
each('covers', (v) => assert.equal(covers(v['wider'], v['narrower']), v['covers']))

each('escape', (v) => {
  if (v.error) return assert.deepEqual(outcome(() => unescapeLevel(v['level'])), { error: v.error })
  const plain = text(v, 'text')
  if (plain === undefined) return
  assert.equal(escapeLevel(plain), v['level'])
  assert.equal(unescapeLevel(v['level']), plain)
})

const run = (s: string) => Buffer.from(s, 'latin1').toString('hex')
const written = (p: Position) => `${run(p._epoch)} ${p._seq} ${run(p._term)} ${p._offset}`

each('position', (v) => {
  if (v.hex !== undefined) {
    const got = outcome(() => parsePosition(unhex(v.hex)))
    assert.deepEqual('error' in got ? got : written(got), v.error ? { error: v.error } : v['position'])
    if (!('error' in got)) assert.equal(hex(tokenOf(got)), v.hex)
  }
  if (v['cursor'] !== undefined) {
    const got = outcome(() => parseCursor(v['cursor']))
    assert.deepEqual('error' in got ? got : written(got), v.error ? { error: v.error } : v['position'])
    if (!('error' in got)) assert.equal(cursorOf(got), v['cursor'])
  }
})

const types: Record<string, number> = {
  Connect: 1, Connected: 2, Subscribe: 3, Subscribed: 4, Unsubscribe: 5, Unsubscribed: 6, Publish: 7, Published: 8, Message: 9, Replay: 10,
  RetainedEnd: 11, Resumed: 12, Gap: 13, Ping: 15, Pong: 16, Refresh: 17, Refreshed: 18, History: 19, Histories: 20, Presence: 21,
  Presences: 22, Error: 23, Disconnect: 24, Subscribes: 25,
}
const fromClient = [1, 3, 5, 7, 17, 19, 21, 25]
const fields: Record<number, [fields: string[], options: string[]]> = {
  1: [['version', 'token'], ['client', 'origin', 'compress']],
  3: [['id', 'filter'], ['position', 'retained', 'snapshot', 'last', 'latest', 'max_rate', 'join']],
  5: [['id', 'subscription'], []],
  7: [['id', 'topic', 'payload'], ['retain', 'type', 'headers', 'receivers', 'mid', 'ttl', 'exclude']],
  17: [['id', 'token'], []],
  19: [['id', 'filter'], ['after', 'limit', 'last']],
  21: [['id', 'topic'], []],
}

/** described is a packet as the vectors say it. */
function described(packet: object): unknown {
  const { is, ...rest } = packet as { is: number } & Record<string, unknown>
  const name = Object.keys(types).find((n) => types[n] === is) as string
  const out: Record<string, unknown> = {}
  for (const [name, v] of Object.entries(rest)) {
    const k = name.replace(/^_/, '')
    if (v === false && k !== 'reconnect') continue // false is absent, but for this one
    if (v instanceof Uint8Array) out[k] = hex(v)
    else if (v && typeof v === 'object' && '_epoch' in v) out[k] = written(v as Position)
    else if (v && typeof v === 'object' && !Array.isArray(v)) out[k] = { ...v }
    else out[k] = v
  }
  if (name === 'Disconnect') out['reconnect'] ??= retryable(out['code'] as number)
  return { [name]: out }
}

// what the entry points add
const all = { _shapes: shapes, _ask: async () => ({}) } as never as ClientImpl
;(deflate as (c: ClientImpl) => string)(all)
await presence(all, 'a')

each('packet', (v) => {
  const values = new Reader(unhex(v.hex))
  const first = outcome(() => (values._value() as unknown[])[0])
  if (typeof first === 'number' && fromClient.includes(first)) return asClient(v)
  const got = outcome(() => [...readPackets(unhex(v.hex))])
  const want = v['packet'] && Object.values(v['packet'])[0] as Record<string, unknown>
  delete want?.['server'] // which nobody looks at
  if (v.error === 'unknown_type') assert.deepEqual(got, [null])
  else if (v.name === 'presences-users-not-str') assert.ok(!('error' in got), 'presence.ts looks at what is in the list')
  else if (v.error) assert.deepEqual(got, { error: v.error })
  else assert.deepEqual((got as object[]).map(described), [v['packet']])
})

// a packet says with options that nobody knows, and elements behind them, what it says without [ENC-8] [GRO-1]
let greased = 0
for (const v of vectors('packet')) {
  if (v.error || fromClient.includes(unhex(v.hex)[1] as number)) continue
  const list = decode(unhex(v.hex), { mapKeyConverter: String }) as unknown[]
  const shape = (shapes as Record<number, readonly [object]>)[list[0] as number]
  if (!Array.isArray(list) || !shape || v.name === 'options-32') continue // which has as many as there may be
  test(`packet with grease: ${v.name}`, () => {
    const n = 1 + Object.keys(shape[0]).length
    while (list.length < n) list.push(null)
    const given = list[n] && !Array.isArray(list[n]) ? (list[n] as object) : {}
    const limits = (given as { limits?: object }).limits
    const options = { 'example.com.grease': [1, null, { a: Uint8Array.of(1) }], later: 'x', ...given, ...(limits && { limits: { ...limits, later: 0 } }) }
    const [p] = [...readPackets(msgpack([...list.slice(0, n), options, 'more', 5, [null]]))] as never as [{ limits?: Record<string, number> }]
    if (p.limits) delete p.limits['later']
    assert.deepEqual([described(p)], [described([...readPackets(unhex(v.hex))][0] as object)])
  })
  greased++
}
test('enough of them have been greased', () => assert.ok(greased > 50, String(greased)))

/** asClient writes a packet that clients send; what the server refuses of them is not the client's to read. */
function asClient(v: Vector): void {
  if (v.error || v['canonical'] === false) return
  const [[name, p]] = Object.entries(v['packet']) as [[string, Record<string, unknown>]]
  const type = types[name] as number
  const valueOf = (p: Record<string, unknown>) => (k: string) => {
    if (k === 'payload' || k === 'position' || k === 'after') return p[k] === undefined ? undefined : unhex(p[k] as string)
    return k === 'headers' && p[k] ? new Map(Object.entries(p[k] as object)) : p[k]
  }
  const optionsOf = (type: number, p: Record<string, unknown>) => Object.fromEntries((fields[type] as string[][])[1]!.map((k) => [k, valueOf(p)(k)]))
  const wanted = (p['subscriptions'] as Record<string, unknown>[] | undefined)?.map((s) => [s['id'], s['filter'], optionsOf(3, s)] as unknown as Wanted)
  const b = wanted ? encodeSubscribes(wanted) : encode([type, ...(fields[type] as string[][])[0]!.map(valueOf(p))], optionsOf(type, p))
  assert.equal(hex(b), v.hex)
  assert.deepEqual([...readPackets(b)], [null], 'a client ignores what only clients send')
}

each('message', (v) => {
  const got = outcome(() => [...readPackets(unhex(v.hex))])
  if (v.error) assert.deepEqual(got, { error: v.error })
  else assert.deepEqual((got as (object | null)[]).map((p) => p && described(p)), v['packets'].map((p: object) => ('Publish' in p ? null : p)))
})

each('code', (v) => {
  const e = new CarillonError(v.name, '', { number: v['code'] })
  assert.equal(e.retryable, v['retry'])
  assert.equal(retryable(v['code']), v['retry'])
  assert.equal(Math.floor(e._number / 100) === 41, v['needs_token'])
})
