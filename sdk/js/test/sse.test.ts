import assert from 'node:assert/strict'
import { test } from 'node:test'

import { readEvents } from '../src/sse.js'
import { numbers } from './numbers.js'

/** bodyOf gives bytes out piece by piece, cut at random. */
function bodyOf(bytes: Uint8Array, random: () => number) {
  let at = 0
  return {
    getReader: () => ({
      read: () => {
        const value = bytes.slice(at, (at += 1 + Math.floor(random() * random() * bytes.length)))
        return Promise.resolve(value.length ? { done: false, value } : { done: true })
      },
    }),
  }
}

async function read(bytes: Uint8Array, random: () => number) {
  const all = []
  for await (const e of readEvents(bodyOf(bytes, random), () => {})) all.push({ ...e })
  return all
}

test('events are the same wherever the stream is cut, with any line ends, and with comments between', async () => {
  const random = numbers(1)
  const pick = (list: string[]) => list[Math.floor(random() * list.length)] as string
  for (let round = 0; round < 2_000; round++) {
    const sent = Array.from({ length: Math.floor(random() * 4) }, () => ({
      id: pick(['', 'AQ', 'AbjIVLMjs3NmAQ']), event: pick(['message', 'gap']), data: pick(['', '{"a":"é语🔔: b"}', ': no comment', 'data: data', ' two spaces']),
    }))
    const text = sent.map((e) => {
      const end = pick(['\n', '\r\n'])
      return [`id: ${e.id}`, ...(random() < 0.5 ? [': ping'] : []), `event:${e.event}`, `data: ${e.data}`, '', ''].join(end)
    })
    const got = await read(new TextEncoder().encode(text.join('')), random)
    assert.deepEqual(got.map(({ id, event, data }) => ({ id, event, data })), sent, JSON.stringify(text))
  }
})

test('what is no stream of events is read to its end, and has fields of text at most', async () => {
  const random = numbers(2)
  const alphabet = ['\n', '\r', '\n\n', ':', ' ', 'data', 'id: 7', '__proto__: x', 'constructor: y', '\0', '\ufeff']
  for (let round = 0; round < 2_000; round++) {
    const bytes = Buffer.concat(Array.from({ length: Math.floor(random() * 30) }, () =>
      random() < 0.3 ? Buffer.from([random() * 256]) : Buffer.from(alphabet[Math.floor(random() * alphabet.length)] as string)))
    for (const e of await read(bytes, random)) for (const field of Object.values(e)) assert.equal(typeof field, 'string')
  }
})
