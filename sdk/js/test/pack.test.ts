import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'

import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { build } from 'esbuild'
import { publint } from 'publint'

const dir = mkdtempSync(join(tmpdir(), 'carillon-pack-'))
after(() => rmSync(dir, { recursive: true }))
const said = execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', dir], { stdio: ['ignore', 'pipe', 'inherit'] }).toString()
const [packed] = JSON.parse(said.slice(said.indexOf('['))) as [{ filename: string; files: { path: string }[] }]
const tarball = join(dir, packed.filename)
const home = join(dir, 'node_modules/@carillon/client')
mkdirSync(home, { recursive: true })
execFileSync('tar', ['xzf', tarball, '--strip-components=1', '-C', home])

test('the package has what it needs and nothing else', () => {
  const folders = new Set(packed.files.map(({ path }) => (path.startsWith('dist/') ? path.replace(/[^/]*$/, '') : path)))
  assert.deepEqual([...folders].sort(), ['LICENSE', 'README.md', 'dist/', 'dist/cjs/', 'dist/esm/', 'package.json'])
  for (const file of ['dist/carillon.js', 'dist/compress.js', 'dist/presence.js', 'dist/esm/index.js', 'dist/esm/http.d.ts', 'dist/esm/presence.d.ts', 'dist/cjs/compress.js', 'dist/cjs/package.json']) {
    assert.ok(packed.files.some(({ path }) => path === file), file)
  }
})

test('it stands on no other package', () => {
  const { dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
  assert.deepEqual([dependencies, peerDependencies], [undefined, undefined])
})

test('publint finds nothing', async () => {
  const { messages } = await publint({ pkgDir: home, pack: false, strict: true })
  assert.deepEqual(messages, [])
})

test('its types are right for whoever imports or requires it', async () => {
  // those that end in .js are for pages, which take them as they are
  const result = await checkPackage(createPackageFromTarballData(new Uint8Array(readFileSync(tarball))), { excludeEntrypoints: ['./carillon.js', './compress.js', './presence.js'] })
  assert.ok(result.types)
  assert.deepEqual(result.problems.filter((p) => !('resolutionKind' in p && p.resolutionKind === 'node10')), []) // it knows no exports
})

test('its types need neither those of browsers nor skipLibCheck, and take what ws and Node have', () => {
  symlinkSync(join(process.cwd(), 'node_modules/@types'), join(dir, 'node_modules/@types'))
  writeFileSync(
    join(dir, 'service.mts'),
    `import { connect } from '@carillon/client'
    import * as http from '@carillon/client/http'
    import { deflate } from '@carillon/client/compress'
    import { type Members, presence, watchPresence } from '@carillon/client/presence'
    import WebSocket from 'ws'
    const token = async ({ reason, signal }: { reason: string; signal: AbortSignal }): Promise<string> => reason + signal.aborted
    connect('ws://a', { WebSocket, token })
    const c: http.Client = http.connect(new URL('ws://a'), { WebSocket, fetch, credentials: 'include' })
    for await (const m of c.subscribe('a')) console.log(m.topic satisfies string)
    const d = connect('ws://a', { WebSocket, compress: deflate })
    const there: Members = await presence(d, 'a', { signal: new AbortController().signal })
    for await (const { count, users } of watchPresence(c, 'a')) console.log(count satisfies number, users?.join(), there)
    // @ts-expect-error it is no compression
    connect('ws://a', { WebSocket, compress: true })
    // @ts-expect-error it is no WebSocket
    connect('ws://a', { WebSocket: Date })
    // @ts-expect-error there is no such credentials
    connect('ws://a', { credentials: 'all' })`,
  )
  const tsc = (lib: string, types: string[], file: string) => {
    const args = ['--module', 'nodenext', '--target', 'es2022', '--strict', '--exactOptionalPropertyTypes', '--noEmit', '--lib', lib, ...types, file]
    const { status, stdout } = spawnSync(process.execPath, [join(process.cwd(), 'node_modules/typescript/bin/tsc'), ...args], { cwd: dir, encoding: 'utf8' })
    assert.equal(stdout, '')
    assert.equal(status, 0)
  }
  tsc('es2022', ['--types', 'node'], 'service.mts')
  mkdirSync(join(dir, 'empty'))
  writeFileSync(
    join(dir, 'page.mts'),
    `import { connect } from '@carillon/client/http'
    connect('/ws', { WebSocket, fetch, credentials: 'include' })
    connect('/ws', { fetch: (url, init) => fetch(url, { ...init, keepalive: true }) })`,
  )
  tsc('es2022,dom', ['--typeRoots', 'empty'], 'page.mts')
})

test('it is imported and required', () => {
  const all = 'CarillonError,connect,covers,escapeLevel,match,unescapeLevel'
  for (const [entry, names] of [
    ['@carillon/client', all],
    ['@carillon/client/http', all],
    ['@carillon/client/compress', 'deflate'],
    ['@carillon/client/presence', 'presence,watchPresence'],
  ] as const) {
    for (const [type, script] of [
      ['module', `import * as m from '${entry}'; console.log(Object.keys(m).sort().join())`],
      ['commonjs', `console.log(Object.keys(require('${entry}')).sort().join())`],
    ]) {
      assert.equal(execFileSync(process.execPath, [`--input-type=${type}`, '-e', script as string], { cwd: dir }).toString().trim(), names, `${entry} as ${type}`)
    }
  }
})

test('what nobody imports of it is in no bundle', async () => {
  const bundle = async (script: string) => {
    const made = await build({ stdin: { contents: script, resolveDir: dir }, bundle: true, minify: true, format: 'esm', platform: 'browser', write: false })
    return (made.outputFiles as { text: string }[])[0]!.text
  }
  const plain = await bundle(`import { connect } from '@carillon/client'; connect('/ws')`)
  const inflating = await bundle(`import { connect } from '@carillon/client'; import { deflate } from '@carillon/client/compress'; connect('/ws', { compress: deflate })`)
  const one = await bundle(`import { presence } from '@carillon/client/presence'; presence(window.c, 'a')`)
  assert.deepEqual([plain, inflating, one].map((s) => [s.includes('deflate-raw'), s.includes('$presence.')]), [[false, false], [true, false], [false, false]])
})

test('the file for browsers is at most 12 kB, gzipped', () => {
  const size = gzipSync(readFileSync('dist/carillon.js'), { level: 9 }).length
  assert.ok(size <= 12_288, `${size} bytes`)
})
