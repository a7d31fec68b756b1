import assert from 'node:assert/strict'
import { test } from 'node:test'
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'

import { CarillonError } from '../src/errors.js'
import { inflate } from '../src/inflate.js'

const most = 1 << 17
const refused = (error: unknown) => error instanceof CarillonError && error.code === 'bad_packet'

/** numbers are pseudo-random ones below n, the same in every run. */
function numbers(seed: number) {
  return (n: number) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((seed / 2 ** 32) * n)
  }
}

/** payloads are of all kinds: nothing, one byte, the same byte, text, noise, what repeats from far away. */
function payloads(): Uint8Array[] {
  const any = numbers(1)
  const noise = (n: number, of = 256) => Uint8Array.from({ length: n }, () => any(of))
  const far = noise(40_000, 4)
  far.copyWithin(33_000, 300, 700)
  return [
    new Uint8Array(),
    Uint8Array.of(7),
    new Uint8Array(70_000),
    new TextEncoder().encode(JSON.stringify(Array.from({ length: 500 }, (_, id) => ({ id, total: any(10_000), name: `order ${any(50)}` })))),
    noise(300),
    noise(66_000),
    noise(5_000, 3),
    far,
    ...Array.from({ length: 16 }, () => noise(any(400), 1 + any(256))),
  ]
}

const { Z_DEFAULT_STRATEGY, Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE } = constants

test('what zlib makes in any way is read', () => {
  for (const payload of payloads()) {
    for (const strategy of [Z_DEFAULT_STRATEGY, Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE]) {
      for (const level of [0, 1, 6, 9]) assert.deepEqual(Buffer.from(inflate(deflateRawSync(payload, { level, strategy }), most)), Buffer.from(payload))
    }
  }
})

test('what is cut off, or has something behind it, is refused', () => {
  for (const payload of payloads().slice(0, 20)) {
    const b = deflateRawSync(payload)
    for (let n = 0; n < b.length; n += 1 + Math.floor(b.length / 60)) assert.throws(() => inflate(b.subarray(0, n), most), refused, `${n} of ${b.length}`)
    assert.throws(() => inflate(Buffer.concat([b, Buffer.of(0)]), most), refused)
    assert.throws(() => inflate(Buffer.concat([b, b]), most), refused)
  }
})

test('no more comes out than may, whatever is in it, and no more memory is taken', () => {
  const bomb = deflateRawSync(new Uint8Array(64 << 20), { level: 9 })
  assert.throws(() => inflate(bomb, 65_536), refused)
  for (const n of [1, 100, 257, 258, 259, 65_536]) {
    for (const level of [0, 9]) {
      const b = deflateRawSync(new Uint8Array(n), { level })
      const out = inflate(b, n)
      assert.equal(out.length, n)
      assert.ok(out.buffer.byteLength <= Math.max(n, 4 * b.length), 'no more than the limit is held')
      assert.throws(() => inflate(b, n - 1), refused)
    }
  }
})

test('of damaged streams it reads the same as zlib, or refuses them', () => {
  const any = numbers(2)
  let read = 0
  for (let i = 0; i < 1_000; i++) {
    const all = any(2) ? deflateRawSync(Uint8Array.from({ length: any(300) }, () => any(20)), { strategy: any(4) }) : Buffer.from(Array.from({ length: any(60) }, () => any(256)))
    const b = Buffer.from(all)
    if (b.length) b[any(b.length)] = any(256)
    let want: Buffer | undefined
    let used = 0
    try {
      const { buffer, engine } = inflateRawSync(b, { info: true, maxOutputLength: most }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } }
      want = buffer
      used = engine.bytesWritten
    } catch {}
    if (want && used === b.length) {
      read++
      assert.deepEqual(Buffer.from(inflate(b, most)), want, b.toString('hex'))
    } else {
      assert.throws(() => inflate(b, most), refused, b.toString('hex'))
    }
  }
  assert.ok(read > 50, `${read} could be read`)
})
