import { CarillonError } from './errors.js'
import { utf8 } from './writer.js'

/** text is a topic, a filter or a token; it throws unless that is text. Whether it is a valid one is for the broker to say, which knows why not. */
export function text(name: unknown): string {
  if (typeof name !== 'string') throw new TypeError(`carillon: found ${typeof name}`)
  return name
}

/** match says whether filter, which is valid, matches topic, which is valid ([FIL-4], [FIL-5]). */
export function match(filter: string, topic: string): boolean {
  return filter === topic || (/[*>]/.test(filter) && covers(filter, topic))
}

/** covers says whether wider matches every topic that narrower matches; both are valid filters ([FIL-6]). */
export function covers(wider: string, narrower: string): boolean {
  if (/^[*>]/.test(wider) && narrower[0] === '$') return false
  const w = wider.split('.')
  const n = narrower.split('.')
  for (const [i, level] of w.entries()) {
    if (n[i] === undefined) return false
    if (level === '>') return true
    if (n[i] === '>' || (level !== '*' && level !== n[i])) return false
  }
  return w.length === n.length
}

// what no level may hold ([TOP-3], [TOP-4]), or what means something in one
const special = /^\$|[.*>%\p{Z}\p{Cc}\p{Cf}\p{Cs}]/gu

/** escapeLevel makes exactly one level of a topic out of any text: a host name, a user id ([NAM-1]). */
export function escapeLevel(text: string): string {
  return text.replace(special, (c) => Array.from(utf8.encode(c), (b) => '%' + (b + 256).toString(16).slice(1).toUpperCase()).join('')) || '%'
}

/** unescapeLevel is the reverse of escapeLevel. What that does not write is `bad_args` ([NAM-2]). */
export function unescapeLevel(level: string): string {
  let text: string | undefined
  try {
    text = level === '%' ? '' : decodeURIComponent(level)
  } catch {}
  if (text === undefined || escapeLevel(text) !== level) throw new CarillonError('bad_args', 'found a level that is not escaped as it should be')
  return text
}
