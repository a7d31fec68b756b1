import { fail, Reader, utf8 as text } from './reader.js'
import { bytesOf, msgpack, utf8 } from './writer.js'

/** What a payload can be. */
const enum Form {
  Msgpack,
  Json,
  Text,
  Bytes,
}

/** formOf is what a content type says of a payload. */
function formOf(contentType: string): Form {
  const type = contentType.replace(/;.*/s, '').trim().toLowerCase()
  if (/^(application\/(x-|vnd\.)?msgpack)?$/.test(type)) return Form.Msgpack
  if (/(^application\/|\+)json$/.test(type)) return Form.Json
  return /^text\//.test(type) ? Form.Text : Form.Bytes
}

/** encodePayload turns the value given to publish into a payload and its content type; that of msgpack is not written. */
export function encodePayload(value: unknown, contentType = ''): readonly [payload: Uint8Array, contentType: string] {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return [bytesOf(value).slice(), contentType || 'application/octet-stream']
  const form = formOf(contentType)
  if (form === Form.Msgpack) return [msgpack(value), contentType]
  if (form === Form.Bytes) throw new TypeError('carillon: found ' + typeof value)
  return [utf8.encode(form === Form.Json ? JSON.stringify(value) : String(value)), contentType]
}

/** decodePayload is what a payload says by its content type: bytes of any other type are handed out as they are, and an empty one as undefined. */
export function decodePayload(payload: Uint8Array, contentType: string): unknown {
  if (!payload.length) return undefined
  const form = formOf(contentType)
  if (form === Form.Bytes) return payload
  if (form !== Form.Msgpack) {
    const s = text.decode(payload)
    return form === Form.Json ? JSON.parse(s) : s
  }
  const r = new Reader(payload, true)
  const value = r._value()
  return r._at < payload.length ? fail('end') : value
}
