// Makes dist: the files for browsers, which are part of the repository because Go embeds one, and the modules for npm, in both systems,
// with types, which are not. With a folder as argument it makes the files there and nothing else, for check-dist.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

import { bundle, files } from './bundle.mjs'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const dist = resolve(process.argv[2] ?? 'dist')
mkdirSync(dist, { recursive: true })

if (process.argv.length < 3) {
  for (const [name, ...args] of [['esm'], ['cjs', '--module', 'CommonJS', '--moduleResolution', 'node10']]) {
    const dir = join(dist, name)
    rmSync(dir, { recursive: true, force: true })
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--outDir', dir, ...args], { stdio: 'inherit' })
  }
  writeFileSync(join(dist, 'cjs', 'package.json'), '{ "type": "commonjs" }\n')
}

const names = JSON.parse(readFileSync('scripts/names.json', 'utf8'))
for (const [name, entry] of Object.entries(files)) {
  const { code, members } = await bundle(names, entry)
  const unnamed = members.filter((m) => entry !== 'browser' && !names[m])
  if (unnamed.length) throw new Error(`${name}.js: ${unnamed} have no names that carillon.js has too; run: npm run names`)
  const file = join(dist, `${name}.js`)
  writeFileSync(`${file}.new`, code)
  renameSync(`${file}.new`, file)
}
