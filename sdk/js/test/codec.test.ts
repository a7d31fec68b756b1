import assert from 'node:assert/strict'
import { test } from 'node:test'

import { decode as theirDecode, encode as theirEncode } from '@msgpack/msgpack'

import { decodePayload, encodePayload } from '../src/codec.js'
import { CarillonError } from '../src/errors.js'
import { encode } from '../src/packets.js'
import { Reader } from '../src/reader.js'
import { msgpack } from '../src/writer.js'
import { numbers } from './numbers.js'

const hex = (b: Uint8Array) => Buffer.from(b).toString('hex')
const unhex = (s: string) => Uint8Array.from(Buffer.from(s, 'hex'))

const edges = [0, 1, 31, 32, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]

/** anything is a random value of those that JSON and MessagePack have in common, and bytes and dates. */
function anything(random: () => number, depth = 0): unknown {
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T
  const text = () => Array.from({ length: Math.floor(random() * 40) }, () => pick(['a', '.', 'é', '語', '🔔', '\0'])).join('')
  const kind = Math.floor(random() * (depth > 3 ? 7 : 9))
  if (kind === 0) return pick([null, true, false])
  if (kind === 1) return pick(edges) * pick([1, -1]) + 0
  if (kind === 2) return random() * 10 ** Math.floor(random() * 300)
  if (kind === 3) return text()
  if (kind === 4) return Uint8Array.from({ length: Math.floor(random() * 300) }, () => random() * 256)
  if (kind === 5) return new Date(Math.floor((random() - 0.5) * 1e14))
  if (kind === 6) return pick(edges) * -1 - 1
  const many = Math.floor(random() * 20)
  if (kind === 7) return Array.from({ length: many }, () => anything(random, depth + 1))
  return Object.fromEntries(Array.from({ length: many }, () => [text(), anything(random, depth + 1)]))
}

test('what is written is what the library @msgpack/msgpack reads, and the reverse', () => {
  const random = numbers(1)
  for (let i = 0; i < 1000; i++) {
    const value = anything(random)
    const written = msgpack(value)
    assert.deepEqual(theirDecode(written), value)
    assert.deepEqual(decodePayload(written, ''), value)
    assert.deepEqual(decodePayload(theirEncode(value), ''), value)
  }
})

test('integers are written as short as the library does', () => {
  for (const n of edges.flatMap((e) => [e, -e - 1])) if (Number.isSafeInteger(n)) assert.equal(hex(msgpack(n)), hex(theirEncode(n)), String(n))
})

test('long text, bytes, lists and maps', () => {
  for (const n of [31, 32, 255, 256, 65535, 65536]) {
    for (const value of ['x'.repeat(n), new Uint8Array(n), Array(n).fill(1), Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, i]))]) {
      const written = msgpack(value)
      assert.equal(hex(written), hex(theirEncode(value)))
      assert.equal(JSON.stringify(decodePayload(written, '')), JSON.stringify(value))
    }
  }
})

test('what is written is whole wherever its room ends', () => {
  for (let n = 0; n < 300; n++) {
    for (const value of ['x'.repeat(n), [new Uint8Array(n), n, 1.5, 'é', true], Array(n).fill(0), { ['x'.repeat(n)]: new Date(0) }]) {
      assert.deepEqual(theirDecode(msgpack(value)), value)
    }
  }
  const token = 'x'.repeat(8192)
  assert.deepEqual(theirDecode(encode([1, 1, token], { client: 'a/1' })), [1, 1, token, { client: 'a/1' }])
})

test('what other writers make is read: wide integers, floats, maps with numbers, timestamps, extension types', () => {
  for (const [bytes, want] of [
    ['d30000000000000005', 5],
    ['d3fffffffffffffffb', -5],
    ['cf0020000000000000', 2 ** 53],
    ['d38000000000000000', -(2 ** 63)],
    ['ca3fc00000', 1.5],
    ['8101a161', { 1: 'a' }],
    ['d6ff00000001', new Date(1000)],
    ['d7ff0000000300000001', new Date((3 * 2 ** 32 + 1) * 1000)],
    ['d7ffee6b280000000001', new Date(2000)],
    ['c70cff1dcd650000000000000000ff', new Date(255_500)],
    ['d40501', { type: 5, data: Uint8Array.of(1) }],
    ['c70106ff', { type: 6, data: Uint8Array.of(255) }],
    ['c0', null],
  ] as const) {
    assert.deepEqual(decodePayload(unhex(bytes), ''), want, bytes)
  }
})

test('undefined is nil, and left out of maps', () => {
  assert.equal(hex(msgpack([undefined])), '91c0')
  assert.equal(hex(msgpack({ a: undefined, b: 1 })), '81a16201')
  assert.equal(hex(msgpack(new Map<unknown, unknown>([[1, 2]]))), '810102')
})

test('what has no end is refused', () => {
  const loop: unknown[] = []
  loop.push(loop)
  assert.throws(() => msgpack(loop), RangeError)
  assert.throws(() => msgpack(Symbol('x')), TypeError)
})

test('payloads that lie, are cut, nested too deep or go on are refused without being believed', () => {
  for (const bytes of [
    'c1', 'ddffffffff', 'dfffffffff', 'dbffffffff', 'c6ffffffff', 'c9ffffffff00', 'dd01ffffff', '9a' + 'dd00010000'.repeat(10), 'a2c328', 'cb00', 'd9',
    '91'.repeat(65) + '00', '0101', 'c70aff00000000000000000000', '81c00', '81c0c0', '8190c0',
  ]) {
    assert.throws(() => decodePayload(unhex(bytes.padEnd(bytes.length + (bytes.length % 2), '0')), ''), CarillonError, bytes)
  }
  assert.doesNotThrow(() => decodePayload(unhex('91'.repeat(63) + '00'), ''))
})

test('no bytes make the reader do anything but return or refuse', () => {
  const random = numbers(2)
  for (let i = 0; i < 10_000; i++) {
    const b = Uint8Array.from({ length: 1 + Math.floor(random() * 40) }, () => (random() < 0.5 ? 0x80 + random() * 128 : random() * 256))
    for (const plain of [true, false]) {
      try {
        new Reader(b, plain)._value()
      } catch (error) {
        assert.ok(error instanceof CarillonError, hex(b))
      }
    }
  }
})

test('payloads go by their content type', () => {
  assert.equal(decodePayload(Buffer.from('"x"'), 'application/json; charset=utf-8'), 'x')
  assert.equal(decodePayload(Buffer.from('x'), 'text/html'), 'x')
  assert.equal(decodePayload(Buffer.from('01', 'hex'), 'application/vnd.msgpack'), 1)
  const bytes = Uint8Array.of(1)
  assert.equal(decodePayload(bytes, 'image/png'), bytes)
  for (const type of ['', 'application/json', 'text/plain', 'image/png']) assert.equal(decodePayload(new Uint8Array(), type), undefined)
})

test('the bytes given to publish are copied', () => {
  const b = Uint8Array.of(1)
  const [payload] = encodePayload(b)
  b[0] = 2
  assert.equal(payload[0], 1)
})
