// Fails when the file for browsers is larger than it may be: 12 kB (of 1,024 bytes), gzipped, with everything in.
import { readFileSync } from 'node:fs'
import { brotliCompressSync, gzipSync } from 'node:zlib'

const limit = 12_288
const file = readFileSync(new URL('../dist/carillon.js', import.meta.url))
const gz = gzipSync(file, { level: 9 }).length
console.log(`dist/carillon.js: ${file.length} bytes, ${gz} gzipped (at most ${limit}), ${brotliCompressSync(file).length} with brotli`)
if (gz > limit) process.exit(1)
