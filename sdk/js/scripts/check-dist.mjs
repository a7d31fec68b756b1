// Fails when a file for browsers in dist is not what npm run build makes of the sources, byte for byte.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { files } from './bundle.mjs'

const made = mkdtempSync(join(tmpdir(), 'carillon-dist-'))
try {
  execFileSync(process.execPath, [fileURLToPath(new URL('build.mjs', import.meta.url)), made], { stdio: 'inherit' })
  for (const name of Object.keys(files)) {
    const have = readFileSync(new URL(`../dist/${name}.js`, import.meta.url))
    if (have.equals(readFileSync(join(made, `${name}.js`)))) console.log(`dist/${name}.js is what the sources make`)
    else {
      console.error(`dist/${name}.js is out of date; run: npm run build`)
      process.exitCode = 1
    }
  }
} finally {
  rmSync(made, { recursive: true })
}
