// Fails when a file for browsers is larger than it may be, gzipped: the client 12 kB (of 1,024 bytes) with everything in, the others what they say.
import { readFileSync } from 'node:fs'
import { brotliCompressSync, gzipSync } from 'node:zlib'

const limits = { carillon: 12_288, presence: 1_920, compress: 1_408 }
for (const [name, limit] of Object.entries(limits)) {
  const file = readFileSync(new URL(`../dist/${name}.js`, import.meta.url))
  const gz = gzipSync(file, { level: 9 }).length
  console.log(`dist/${name}.js: ${file.length} bytes, ${gz} gzipped (at most ${limit}), ${brotliCompressSync(file).length} with brotli`)
  if (gz > limit) process.exitCode = 1
}
