// Fails when dist/carillon.js is not what npm run build makes of the sources, byte for byte.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const made = mkdtempSync(join(tmpdir(), 'carillon-dist-'))
try {
  execFileSync(process.execPath, [fileURLToPath(new URL('build.mjs', import.meta.url)), made], { stdio: 'inherit' })
  const have = readFileSync(new URL('../dist/carillon.js', import.meta.url))
  if (have.equals(readFileSync(join(made, 'carillon.js')))) console.log('dist/carillon.js is what the sources make')
  else {
    console.error('dist/carillon.js is out of date; run: npm run build')
    process.exitCode = 1
  }
} finally {
  rmSync(made, { recursive: true })
}
