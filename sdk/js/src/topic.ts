import { CarillonError } from './errors.js'

const excluded = /[\p{White_Space}\p{Cc}\p{Cf}\p{Cs}]/u
const utf8 = new TextEncoder()

/** validateTopic throws `bad_topic` unless topic is a valid name ([TOP-1] to [TOP-6]). */
export function validateTopic(topic: string): void {
  validate(topic, 'bad_topic', false)
}

/** validateFilter throws `bad_filter` unless filter is a valid filter ([FIL-1] to [FIL-3]). */
export function validateFilter(filter: string): void {
  validate(filter, 'bad_filter', true)
}

function validate(name: string, code: 'bad_topic' | 'bad_filter', filter: boolean): void {
  const levels = name.split('.')
  const fault = (detail: string) => {
    throw new CarillonError(code, detail)
  }
  if (levels.length > 16) fault(`found ${levels.length} levels, wanted at most 16`)
  if (utf8.encode(name).length > 255) fault('found a name of more than 255 bytes')
  levels.forEach((level, i) => {
    if (filter && (level === '*' || (level === '>' && i === levels.length - 1))) return
    if (!level) fault(`level ${i + 1} is empty`)
    if (/[*>]/.test(level)) fault(`level ${i + 1} has a wildcard inside, or > that is not last`)
    if (excluded.test(level)) fault(`level ${i + 1} has a blank, a control or a format character`)
  })
}

/** match says whether filter, which is valid, matches topic, which is valid ([FIL-4], [FIL-5]). */
export function match(filter: string, topic: string): boolean {
  return filter === topic || (!literal(filter) && covers(filter, topic))
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

/** literal says whether a filter has no wildcard: it matches the one topic of its name. */
export function literal(filter: string): boolean {
  return !/[*>]/.test(filter)
}

/** escapeLevel makes exactly one level of a topic out of any text: a host name, a user id ([NAM-1]). */
export function escapeLevel(text: string): string {
  if (!text) return '%'
  return text.replace(/^\$|[.*>%\p{White_Space}\p{Cc}\p{Cf}]/gu, (c) =>
    Array.from(utf8.encode(c), (b) => '%' + b.toString(16).toUpperCase().padStart(2, '0')).join(''),
  )
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

/** Index finds the filters that match a topic. */
export class Index<T extends { readonly filter: string }> {
  private readonly _literal = new Map<string, T[]>()
  private _wild: T[] = []

  _add(item: T): void {
    if (!literal(item.filter)) this._wild.push(item)
    else this._literal.set(item.filter, [...(this._literal.get(item.filter) ?? []), item])
  }

  _remove(item: T): void {
    const others = (list: T[]) => list.filter((other) => other !== item)
    const rest = others(this._literal.get(item.filter) ?? [])
    if (rest.length) this._literal.set(item.filter, rest)
    else this._literal.delete(item.filter)
    this._wild = others(this._wild)
  }

  _match(topic: string): T[] {
    return [...(this._literal.get(topic) ?? []), ...this._wild.filter((item) => match(item.filter, topic))]
  }
}
