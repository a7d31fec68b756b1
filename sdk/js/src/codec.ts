import { Reader } from './reader.js'
import { bytesOf, msgpack } from './writer.js'

const text = new TextDecoder()

/** What a content type says a payload is. */
function formOf(contentType: string): 'msgpack' | 'json' | 'text' | 'bytes' {
  const type = contentType.replace(/;.*/s, '').trim().toLowerCase()
  if (!type || /^application\/(x-|vnd\.)?msgpack$/.test(type)) return 'msgpack'
  if (type === 'application/json' || type.endsWith('+json')) return 'json'
  return type.startsWith('text/') ? 'text' : 'bytes'
}

/** encodePayload turns the value given to publish into a payload and its content type; that of msgpack is not written. */
export function encodePayload(value: unknown, contentType?: string): readonly [payload: Uint8Array, contentType: string] {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return [bytesOf(value).slice(), contentType ?? 'application/octet-stream']
  const utf8 = new TextEncoder()
  switch (formOf(contentType ?? '')) {
    case 'msgpack':
      return [msgpack(value), contentType ?? '']
    case 'json':
      return [utf8.encode(JSON.stringify(value) ?? 'null'), contentType as string]
    case 'text':
      return [utf8.encode(String(value)), contentType as string]
  }
  throw new TypeError(`carillon: publish as ${contentType} takes bytes`)
}

/** decodePayload is what a payload says by its content type: bytes of any other type are handed out as they are, and none as undefined. */
export function decodePayload(payload: Uint8Array, contentType: string): unknown {
  const form = formOf(contentType)
  if (form === 'bytes') return payload
  if (form === 'text') return text.decode(payload)
  if (!payload.length) return undefined
  if (form === 'json') return JSON.parse(text.decode(payload))
  const r = new Reader(payload, true)
  const value = r._value()
  if (r._at < payload.length) throw new Error('carillon: the payload is more than one msgpack value')
  return value
}
