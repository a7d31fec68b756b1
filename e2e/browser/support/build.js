import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './paths.js'

/** Builds the broker, unless CARILLON_BIN says where it is. */
export default function build() {
  if (process.env.CARILLON_BIN) return
  const dir = mkdtempSync(join(tmpdir(), 'carillon-browser-'))
  process.env.CARILLON_BIN = join(dir, 'carillon')
  execFileSync('go', ['build', '-o', process.env.CARILLON_BIN, './cmd/carillon'], { cwd: root, stdio: 'inherit' })
  return () => rmSync(dir, { recursive: true, force: true })
}
