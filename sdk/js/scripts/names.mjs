// Chooses the short names of internal members, which build.mjs gives them, so that the file for browsers is small when it is gzipped: from
// names.json on, it swaps names for so many seconds (60) and keeps what is no larger. New members do without until it is run again.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

import { bundle } from './bundle.mjs'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const names = JSON.parse(readFileSync('scripts/names.json', 'utf8'))
const { members: all } = await bundle(names)
const { code } = await bundle(Object.fromEntries(all.map((m) => [m, m])))
const members = new RegExp(`(?<![\\w$])(?:${all.join('|')})(?![\\w$])`, 'g')
const between = code.split(members)
const uses = code.match(members)

// what can be a name: one letter, or two, that nothing else is called by
const taken = new Set([...code.matchAll(/[.{,]([\w$]{1,2})\b/g)].map((m) => m[1]))
const first = [...'etisrnohaclfupdmwygbvkTxqA$SjCOEMPUNRLIDJBVWFGHKXQYZz']
const pool = [...first, ...first.slice(0, 14).flatMap((a) => first.slice(0, 20).map((b) => a + b))].filter((n) => n.length === 1 || !taken.has(n))

const size = (given) => gzipSync(uses.reduce((text, use, i) => text + given.get(use) + between[i + 1], between[0]), { level: 9 }).length
const free = (given) => {
  const used = new Set(given.values())
  return pool.filter((n) => !used.has(n))
}
const any = (list) => list[Math.floor(Math.random() * list.length)]

let best = new Map()
for (const m of all) if (pool.includes(names[m])) best.set(m, names[m])
for (const m of all) if (!best.has(m)) best.set(m, free(best)[0])
let least = size(best)
console.log(`${least} bytes`)
for (const until = Date.now() + 1000 * (process.argv[2] ?? 60); Date.now() < until; ) {
  const next = new Map(best)
  const a = any(all)
  const b = any(all)
  next.set(a, Math.random() < 0.3 ? any(free(best)) : best.get(b))
  if (next.get(a) === best.get(b)) next.set(b, best.get(a))
  const n = size(next)
  if (n <= least) [best, least] = [next, n]
}
console.log(`${least} bytes`)
writeFileSync('scripts/names.json', JSON.stringify(Object.fromEntries([...best].sort(([a], [b]) => (a < b ? -1 : 1))), null, 1) + '\n')
