// Makes dist: the one file for browsers, which is part of the repository because Go embeds it, and the modules for npm, in both systems,
// with types, which are not. With a folder as argument it makes the one file there and nothing else, for check-dist.
import { execFileSync } from 'node:child_process'
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

import { build } from 'esbuild'
import { minify } from 'terser'

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
  compress: { passes: 3, ecma: 2020, unsafe_arrows: true, hoist_funs: true, reduce_funcs: false, lhs_constants: false },
  format: { preamble: '/* Carillon client, Apache-2.0 */' },
})
const file = join(dist, 'carillon.js')
writeFileSync(`${file}.new`, code + '\n')
renameSync(`${file}.new`, file)
