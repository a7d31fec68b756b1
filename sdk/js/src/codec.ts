import { fail, Reader, utf8 as text } from './reader.js'
import { bytesOf, msgpack, utf8 } from './writer.js'

/** What a content type says a payload is. */
function formOf(contentType: string): 'msgpack' | 'json' | 'text' | 'bytes' {
  const type = contentType.replace(/;.*/s, '').trim().toLowerCase()
  if (/^(application\/(x-|vnd\.)?msgpack)?$/.test(type)) return 'msgpack'
  if (/(^application\/|\+)json$/.test(type)) return 'json'
  return /^text\//.test(type) ? 'text' : 'bytes'
}

/** encodePayload turns the value given to publish into a payload and its content type; that of msgpack is not written. */
export function encodePayload(value: unknown, contentType = ''): readonly [payload: Uint8Array, contentType: string] {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return [bytesOf(value).slice(), contentType || 'application/octet-stream']
  const form = formOf(contentType)
  if (form === 'msgpack') return [msgpack(value), contentType]
  if (form === 'bytes') throw new TypeError(`carillon: ${contentType} takes bytes`)
  return [utf8.encode(form === 'json' ? JSON.stringify(value) : String(value)), contentType]
}

/** decodePayload is what a payload says by its content type: bytes of any other type are handed out as they are, and an empty one as undefined. */
export function decodePayload(payload: Uint8Array, contentType: string): unknown {
  if (!payload.length) return undefined
  const form = formOf(contentType)
  if (form === 'bytes') return payload
  if (form !== 'msgpack') {
    const s = text.decode(payload)
    return form === 'json' ? JSON.parse(s) : s
  }
  const r = new Reader(payload, true)
  const value = r._value()
  return r._at < payload.length ? fail('its end') : value
}
