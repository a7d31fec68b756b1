/** utf8 writes text. */
export const utf8 = new TextEncoder()

/**
 * msgpack writes a value as MessagePack, everything in its shortest form ([ENC-10]): null and undefined, booleans, numbers, strings,
 * bytes (any ArrayBuffer or view of one), dates (as timestamps), arrays, Maps, and the own enumerable members of any other object, of
 * which those that are undefined are left out.
 */
export function msgpack(value: unknown): Uint8Array {
  let bytes = new Uint8Array(128)
  let at = 0

  /** room makes room for n more bytes and says where. */
  const room = (n: number): number => {
    at += n
    if (at > bytes.length) {
      const old = bytes
      bytes = new Uint8Array(2 * at)
      bytes.set(old)
    }
    return at - n
  }
  /** int writes so many bytes of n, the highest first; of a negative one the two's complement. */
  const int = (width: number, n: number): void => {
    const to = room(width)
    for (let i = width; i--; n = Math.floor(n / 256)) bytes[to + i] = n
  }
  /** head writes n within its type: in the first byte if it is less than most, else behind it in as many bytes as it takes, at least width. */
  const head = (n: number, fixed: number, most: number, tag: number, width = 1): void => {
    if (n < most) return int(1, fixed + n)
    for (; n >= 256 ** width; width *= 2) tag++
    int(1, tag)
    int(width, n)
  }
  const raw = (b: Uint8Array, fixed: number, most: number, tag: number): void => {
    head(b.length, fixed, most, tag)
    const to = room(b.length)
    bytes.set(b, to)
  }
  const number = (n: number): void => {
    if (!Number.isSafeInteger(n) || Object.is(n, -0)) {
      int(1, 0xcb)
      const to = room(8)
      new DataView(bytes.buffer).setFloat64(to, n)
    } else if (n >= 0) head(n, 0, 128, 0xcc)
    else if (n >= -32) int(1, n)
    else {
      let width = 1
      let tag = 0xd0
      for (; n < -(2 ** (8 * width - 1)); width *= 2) tag++
      int(1, tag)
      int(width, n)
    }
  }
  /** date writes a timestamp of 96 bits. */
  const date = (ms: number): void => {
    const seconds = Math.floor(ms / 1000)
    int(3, 0xc70cff)
    int(4, (ms - seconds * 1000) * 1e6)
    int(8, seconds)
  }
  const write = (v: unknown): void => {
    const type = typeof v
    if (v === null || v === undefined) int(1, 0xc0)
    else if (type === 'boolean') int(1, v ? 0xc3 : 0xc2)
    else if (type === 'number') number(v as number)
    else if (type === 'string') raw(utf8.encode(v as string), 0xa0, 32, 0xd9)
    else if (v instanceof ArrayBuffer || ArrayBuffer.isView(v)) raw(bytesOf(v), 0, 0, 0xc4)
    else if (Array.isArray(v)) {
      head(v.length, 0x90, 16, 0xdc, 2)
      for (const item of v) write(item)
    } else if (v instanceof Date) date(v.getTime())
    else if (type === 'object') {
      const entries = v instanceof Map ? [...v] : Object.entries(v).filter(([, item]) => item !== undefined)
      head(entries.length, 0x80, 16, 0xde, 2)
      for (const pair of entries) pair.forEach(write)
    } else throw new TypeError('carillon: found ' + typeof v)
  }

  write(value)
  return bytes.subarray(0, at)
}

export function bytesOf(v: ArrayBuffer | ArrayBufferView): Uint8Array {
  return v instanceof ArrayBuffer ? new Uint8Array(v) : new Uint8Array(v.buffer, v.byteOffset, v.byteLength)
}
