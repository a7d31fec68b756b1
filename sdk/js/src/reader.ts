import { CarillonError } from './errors.js'

/** utf8 refuses what is not UTF-8, and keeps everything else as it is. */
export const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Pairs is a map as it came: key, value, key, value. What it may hold is for whoever reads it to say. */
export class Pairs {
  constructor(readonly _items: readonly unknown[]) {}
}

/**
 * What stands behind the first bytes c0 to df, and of how many bytes, in base 17, is what follows: nil, false and true, a length of bin,
 * ext, str, array or map, a float, an unsigned or signed integer, and the ext of fixed length (x).
 */
const kinds = 'n.ftbbbeeeddiiiijjjjxxxxxsssaamm'
const widths = '000012412448124812481248g1242424'

/**
 * Reader reads MessagePack from bytes that cannot be trusted. Every declared length is checked against the bytes that are there
 * before anything is made of it, depth is bounded, str is valid UTF-8. Anything else throws `bad_packet`.
 *
 * For packets it also holds to the limits of [ENC-6] and [ENC-7], gives maps as Pairs, and NaN for numbers that no field may
 * have ([ENC-3]). For payloads, with plain set, it makes objects, dates of timestamps and {type, data} of other extension types,
 * and the nearest number of an integer that none is exactly; sizes are bounded by the bytes alone.
 */
export class Reader {
  _at = 0

  constructor(
    private readonly _bytes: Uint8Array,
    private readonly _plain = false,
  ) {}

  /** _value reads one value, inside depth arrays and maps. */
  _value(depth = 0): unknown {
    const c = this._uint(1)
    if (c < 0x80) return c
    if (c > 0xdf) return c - 256
    let kind = c < 0x90 ? 'm' : c < 0xa0 ? 'a' : 's'
    let n = c & (c < 0xa0 ? 15 : 31)
    if (c > 0xbf) {
      kind = kinds[n] as string
      n = parseInt(widths[n] as string, 17)
      if (/[abems]/.test(kind)) n = this._uint(n)
    }
    switch (kind) {
      case 'n':
        return null
      case 'f':
      case 't':
        return kind > 'f'
      case 'b':
        return this._take(n).slice()
      case 's':
        try {
          return utf8.decode(this._take(n))
        } catch {
          break
        }
      case 'd':
        return this._float(n)
      case 'i':
      case 'j':
        return n > 4 && kind > 'i' ? this._long() : this._integer(n, kind > 'i')
      case 'a':
        return this._values(n, 1024, depth)
      case 'm': {
        const items = this._values(2 * n, 128, depth)
        return this._plain ? object(items) : new Pairs(items)
      }
      case 'e':
      case 'x':
        if (this._plain) return this._extension(n)
    }
    return fail(`byte ${c}`)
  }

  private _take(n: number): Uint8Array {
    const at = this._at
    if (n > this._bytes.length - at) fail('end')
    this._at += n
    return this._bytes.subarray(at, this._at)
  }

  /** _uint reads an unsigned integer. */
  private _uint(width: number): number {
    let n = 0
    for (const b of this._take(width)) n = n * 256 + b
    return n
  }

  private _float(width: number): number {
    const view = new DataView(this._take(width).slice().buffer)
    if (width > 4) return view.getFloat64(0)
    return this._plain ? view.getFloat32(0) : NaN
  }

  private _integer(width: number, signed: boolean): number {
    const n = this._uint(width)
    return signed && n >= 2 ** (8 * width - 1) ? n - 2 ** (8 * width) : n
  }

  /** _long reads a signed integer of 8 bytes. */
  private _long(): number {
    return this._integer(4, true) * 2 ** 32 + this._uint(4)
  }

  /** _extension reads one whose data has n bytes. */
  private _extension(n: number): unknown {
    const type = this._integer(1, true)
    if (type !== -1) return { type, data: this._take(n).slice() }
    if (n === 4) return new Date(this._uint(4) * 1000)
    const first = this._uint(4)
    if (n === 8) return new Date(((first & 3) * 2 ** 32 + this._uint(4)) * 1000 + (first >>> 2) / 1e6)
    return n === 12 ? new Date(this._long() * 1000 + first / 1e6) : fail('time')
  }

  private _values(n: number, most: number, depth: number): unknown[] {
    if (n > this._bytes.length - this._at || (n > most && !this._plain) || depth >= (this._plain ? 64 : 16)) fail('size')
    const values = []
    while (values.length < n) values.push(this._value(depth + 1))
    return values
  }
}

/** object makes a plain object of keys and values; its keys are the object's own, whatever they are called. */
function object(items: readonly unknown[]): object {
  const entries = []
  for (let i = 0; i < items.length; i += 2) {
    if (!/^[sn]/.test(typeof items[i])) fail('key')
    entries.push([items[i], items[i + 1]] as const)
  }
  return Object.fromEntries(entries)
}

/** fail refuses bytes: what was found is not as it should be. */
export function fail(what: string): never {
  throw new CarillonError('bad_packet', what)
}
