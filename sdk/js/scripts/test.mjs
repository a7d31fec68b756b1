// Runs the tests: each test/*.test.ts is made one file with esbuild and given to node --test. Arguments go to node, or name test files.
// CARILLON_BIN is the broker for the tests that need a real one; without it one is built. With CARILLON_JUNIT the results are also
// written there, as JUnit XML.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { build } from 'esbuild'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const flags = process.argv.slice(2).filter((a) => a.startsWith('-'))
const wanted = process.argv.slice(2).filter((a) => !a.startsWith('-'))
const tests = readdirSync('test').filter((f) => f.endsWith('.test.ts') && (!wanted.length || wanted.some((w) => f.includes(w))))
rmSync('.test', { recursive: true, force: true })
await build({
  entryPoints: tests.map((f) => join('test', f)),
  outdir: '.test',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  packages: 'external',
  sourcemap: 'inline',
  outExtension: { '.js': '.mjs' },
})

const env = { ...process.env }
const temp = mkdtempSync(join(tmpdir(), 'carillon-js-'))
try {
  if (!env.CARILLON_BIN && tests.some((f) => f.startsWith('real'))) {
    env.CARILLON_BIN = join(temp, 'carillon')
    execFileSync('go', ['build', '-o', env.CARILLON_BIN, './cmd/carillon'], { cwd: '../..', stdio: 'inherit' })
  }
  const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout']
  if (env.CARILLON_JUNIT) reporters.push('--test-reporter=./scripts/junit.mjs', '--test-reporter-destination=stdout')
  const files = readdirSync('.test').filter((f) => f.endsWith('.mjs'))
  const run = spawnSync(process.execPath, ['--enable-source-maps', '--test', '--test-concurrency=4', ...reporters, ...flags, ...files.map((f) => join('.test', basename(f)))], { stdio: 'inherit', env })
  process.exitCode = run.status ?? 1
} finally {
  rmSync(temp, { recursive: true })
}
