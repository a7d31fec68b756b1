// The file: a line of JSON for each commit, on the disk before it is answered.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, realpath, rename } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'

export class Journal {
  entries = 0 // lines in the file
  #path
  #file

  /** Opens the journal in dir, makes it if there is none, and gives each entry to read. */
  static async open(dir, read) {
    const journal = new Journal()
    await mkdir(dir, { recursive: true, mode: 0o700 })
    await lock(dir)
    journal.#path = join(dir, 'journal.jsonl')
    journal.#file = await open(journal.#path, 'a', 0o600)
    await journal.#file.truncate(await journal.#read(read))
    await journal.#file.sync()
    await syncFolder(dir)
    return journal
  }

  /** Appends one entry and returns when it is on the disk. */
  async append(entry) {
    await this.#file.appendFile(encode(entry))
    await this.#file.datasync()
    this.entries++
  }

  /** Replaces all entries, at once: a crash leaves the old file or the new one. */
  async replace(entries) {
    const fresh = await open(`${this.#path}.new`, 'w', 0o600)
    for (const entry of entries) await fresh.appendFile(encode(entry))
    await fresh.sync()
    await rename(`${this.#path}.new`, this.#path)
    await syncFolder(join(this.#path, '..'))
    await this.#file.close()
    await fresh.close()
    this.#file = await open(this.#path, 'a')
    this.entries = entries.length
  }

  close() {
    return this.#file.close()
  }

  /**
   * Reads the file and returns where its last good line ends. A crash may leave the next line behind in part, a loss of power also with holes;
   * nobody was told of it. A line that is no good and has good ones behind it was damaged later.
   */
  async #read(read) {
    let end = 0
    let bad = false
    let rest = Buffer.alloc(0)
    for await (const chunk of createReadStream(this.#path)) {
      rest = Buffer.concat([rest, chunk])
      for (let at = rest.indexOf(10); at >= 0; at = rest.indexOf(10)) {
        const entry = decode(rest.subarray(0, at))
        rest = rest.subarray(at + 1)
        if (entry === undefined) {
          bad = true
          continue
        }
        if (bad) throw new Error(`${this.#path} is damaged at byte ${end}: put back a copy, or give up the rest of it`)
        read(entry)
        this.entries++
        end += at + 1
      }
    }
    return end
  }
}

const encode = (entry) => `${JSON.stringify(packed(entry))}\n`

/** JSON has no bytes: they are written as {"base64": "…"}. */
function packed(value) {
  if (Buffer.isBuffer(value)) return { base64: value.toString('base64') }
  if (Array.isArray(value)) return value.map(packed)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, packed(part)]))
}

function decode(line) {
  try {
    return JSON.parse(line, (_, value) => (typeof value?.base64 === 'string' ? Buffer.from(value.base64, 'base64') : value))
  } catch {
    return undefined
  }
}

/** Makes sure that a new name in a folder outlives the loss of power. */
async function syncFolder(dir) {
  const folder = await open(dir, 'r')
  await folder.sync()
  await folder.close()
}

/**
 * Keeps two processes from writing one journal. Node has no call that locks a file; a socket without a file, which Linux has,
 * ends with its process as a lock does. Elsewhere nothing is locked.
 */
async function lock(dir) {
  if (process.platform !== 'linux') return
  const name = `\0carillon-store-${createHash('sha256').update(await realpath(dir)).digest('hex')}`
  await new Promise((resolve, reject) => {
    const server = createServer()
    server.unref().once('error', () => reject(new Error(`${dir} is in use by another process`)))
    server.listen(name, resolve)
  })
}
