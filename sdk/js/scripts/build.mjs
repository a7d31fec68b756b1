// Makes dist: the modules for npm, in both systems, with types, and the one file for browsers. With a folder as argument it
// makes it there, for check-dist.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

import { build } from 'esbuild'
import { minify } from 'terser'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const dist = resolve(process.argv[2] ?? 'dist')
mkdirSync(dist, { recursive: true })
for (const name of readdirSync(dist)) if (name !== 'carillon.js') rmSync(join(dist, name), { recursive: true })

const tsc = (...args) => execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', ...args], { stdio: 'inherit' })
tsc('--outDir', join(dist, 'esm'))
tsc('--outDir', join(dist, 'cjs'), '--module', 'CommonJS', '--moduleResolution', 'node10')
writeFileSync(join(dist, 'cjs', 'package.json'), '{ "type": "commonjs" }\n')

// members that begin with _ are internal everywhere: they get short names
const bundle = await build({
  entryPoints: ['src/browser.ts'],
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  charset: 'utf8',
  legalComments: 'none',
  mangleProps: /^_[a-z]/,
  write: false,
})
const { code } = await minify(bundle.outputFiles[0].text, {
  module: true,
  ecma: 2020,
  compress: { passes: 3, ecma: 2020, unsafe_arrows: true },
  format: { preamble: '/* Carillon client, Apache-2.0 */' },
})
writeFileSync(join(dist, 'carillon.js'), code + '\n')
