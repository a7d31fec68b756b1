// Fails when dist is not what npm run build makes of the sources, byte for byte.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const dist = fileURLToPath(new URL('../dist', import.meta.url))
const made = mkdtempSync(join(tmpdir(), 'carillon-dist-'))
try {
  execFileSync(process.execPath, [fileURLToPath(new URL('build.mjs', import.meta.url)), made], { stdio: 'inherit' })
  const files = (dir) => readdirSync(dir, { recursive: true }).map(String).filter((name) => statSync(join(dir, name)).isFile())
  const names = new Set([...files(dist), ...files(made)])
  const read = (dir, name) => {
    try {
      return readFileSync(join(dir, name), 'utf8')
    } catch {
      return undefined
    }
  }
  const differ = [...names].filter((name) => read(dist, name) !== read(made, name)).sort()
  if (differ.length) {
    console.error(`dist is out of date: ${differ.join(', ')}; run: npm run build`)
    process.exitCode = 1
  } else console.log(`dist: ${names.size} files are what the sources make`)
} finally {
  rmSync(made, { recursive: true })
}
