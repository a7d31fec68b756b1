import { CarillonError } from './errors.js'

/** The order in which the lengths of the codes of lengths come (RFC 1951, 3.2.7). */
const order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

/** A tree is a table of what the next bits stand for, whatever follows: the symbol · 16 and how many bits it takes, 0 where they stand for nothing. */
type Tree = Uint16Array

/**
 * inflate is what a raw DEFLATE stream holds (RFC 1951), at most so many bytes. It throws unless the stream is whole, and all that there is. It is
 * done at once and not by a DecompressionStream: what comes behind a message waits for nothing then, and no more memory is taken than may be.
 */
export function inflate(from: Uint8Array, most: number): Uint8Array {
  let at = 0 // of from
  let bits = 0 // taken from there and not used, the lowest first
  let have = 0 // how many
  let out = new Uint8Array(Math.min(most, 4 * from.length))
  let n = 0 // of out

  /** look takes bytes until there are so many bits, or nothing more. */
  const look = (count: number): void => {
    for (; have < count && at < from.length; have += 8) bits |= (from[at++] as number) << have
  }
  /** take is the next so many bits as a number; 16 at most. */
  const take = (count: number): number => {
    look(count)
    if (have < count) broken('cut')
    const v = bits & ((1 << count) - 1)
    bits >>>= count
    have -= count
    return v
  }
  /** symbol is the next one of a tree. */
  const symbol = (t: Tree): number => {
    look(15)
    const entry = t[bits & (t.length - 1)] as number
    if (!(entry & 15)) broken('code')
    take(entry & 15)
    return entry >> 4
  }
  /** room makes room for so many bytes more. */
  const room = (count: number): void => {
    if (n + count > most) broken('size')
    if (n + count <= out.length) return
    const old = out
    out = new Uint8Array(Math.min(most, 2 * (n + count)))
    out.set(old)
  }
  const stored = (): void => {
    take(have & 7)
    const length = take(16)
    if (take(16) !== (length ^ 0xffff)) broken('length')
    room(length)
    for (let i = 0; i < length; i++) out[n++] = take(8)
  }
  /** trees are those of a block: for literals and lengths, and for distances. */
  const trees = (): [Tree, Tree] => {
    const literals = take(5) + 257
    const distances = take(5) + 1
    const count = take(4) + 4
    if (literals > 286 || distances > 30) broken('count')
    const own = new Uint8Array(19)
    for (let i = 0; i < count; i++) own[order[i] as number] = take(3)
    const t = tree(own, true)
    const lengths = new Uint8Array(literals + distances)
    for (let i = 0; i < lengths.length; ) {
      const s = symbol(t)
      if (s < 16) {
        lengths[i++] = s
        continue
      }
      if (s < 17 && !i) broken('repeat')
      const again = s < 17 ? (lengths[i - 1] as number) : 0
      let times = s < 17 ? 3 + take(2) : s < 18 ? 3 + take(3) : 11 + take(7)
      if (i + times > lengths.length) broken('repeat')
      while (times--) lengths[i++] = again
    }
    if (!lengths[256]) broken('end')
    return [tree(lengths.subarray(0, literals)), tree(lengths.subarray(literals))]
  }
  const block = ([literals, distances]: [Tree, Tree]): void => {
    for (let s; (s = symbol(literals)) !== 256; ) {
      if (s < 256) {
        room(1)
        out[n++] = s
        continue
      }
      if (s > 285) broken('symbol')
      const length = s > 284 ? 258 : base(s - 257, 4) + 3
      const d = symbol(distances)
      if (d > 29) broken('symbol')
      const distance = base(d, 2) + 1
      if (distance > n) broken('distance')
      room(length)
      for (const end = n + length; n < end; n++) out[n] = out[n - distance] as number
    }
  }
  /** base is the number that a symbol of a length or a distance stands for, with the bits that it has behind it: every so many symbols it is one bit more. */
  const base = (s: number, each: number): number => {
    const extra = Math.floor(s / each) - 1
    return extra < 1 ? s : ((each + (s % each)) << extra) + take(extra)
  }

  for (let last = 0; !last; ) {
    last = take(1)
    const kind = take(2)
    if (kind > 2) broken('kind')
    if (kind) block(kind > 1 ? trees() : fixed())
    else stored()
  }
  if (at < from.length || have > 7) broken('more')
  return out.subarray(0, n)
}

/** tree makes one of the lengths of its codes, by symbol. Whatever comes has to mean one thing, but for a tree of one code, or of none, that need not be whole. */
function tree(lengths: Uint8Array, whole = false): Tree {
  const count = new Uint16Array(16)
  for (const l of lengths) count[l]!++
  count[0] = 0
  let most = 15
  while (most > 1 && !count[most]) most--
  const next: number[] = []
  let code = 0
  for (let l = 1; l < 16; l++) {
    next[l] = code = (code + (count[l - 1] as number)) << 1
    if (code + (count[l] as number) > 1 << l) broken('lengths')
  }
  if (code + (count[15] as number) < 1 << 15 && (whole || most > 1)) broken('lengths')
  const table = new Uint16Array(1 << most)
  lengths.forEach((l, symbol) => {
    if (!l) return
    let code = next[l]!++
    let first = 0 // the code's bits come the highest first
    for (let i = 0; i < l; i++, code >>= 1) first = (first << 1) | (code & 1)
    for (; first < table.length; first += 1 << l) table[first] = (symbol << 4) | l
  })
  return table
}

let always: [Tree, Tree] | undefined

/** fixed are the trees of blocks that bring none. */
function fixed(): [Tree, Tree] {
  return (always ??= [tree(Uint8Array.from({ length: 288 }, (_, s) => (s < 144 ? 8 : s < 256 ? 9 : s < 280 ? 7 : 8))), tree(new Uint8Array(32).fill(5))])
}

function broken(what: string): never {
  throw new CarillonError('bad_packet', `compressed: ${what}`)
}
