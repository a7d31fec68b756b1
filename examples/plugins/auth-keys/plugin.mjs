#!/usr/bin/env -S node --preserve-symlinks-main
// auth-keys lets in those who have a key that a file lists, and reads the file again when it has changed.

import { createHash } from 'node:crypto'
import { readFileSync, unwatchFile, watchFile } from 'node:fs'

import { BadConfig, check, log, refuse, serve } from './kit.mjs'

const schema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  required: ['file'],
  additionalProperties: false,
  properties: { file: { type: 'string', minLength: 1 } },
}

const filters = { type: 'array', items: { type: 'string' } }

/** What the file has to be. */
const fileSchema = {
  type: 'object',
  required: ['keys'],
  additionalProperties: false,
  properties: {
    keys: {
      type: 'array',
      items: {
        type: 'object',
        required: ['id', 'sha256', 'user'],
        additionalProperties: false,
        properties: {
          id: { type: 'string' },
          sha256: { type: 'string' },
          user: { type: 'string' },
          expires: { type: 'string' },
          publish: filters,
          subscribe: filters,
          publishes_per_second: { type: 'integer' },
        },
      },
    },
  },
}

const everyMs = 1000 // how often it is looked whether the file has changed

/** The keys by their sha256: the file holds none, and looking one up tells no clock of it. */
class Keys {
  #file
  #keys

  constructor({ file }) {
    this.#file = file
    this.#keys = read(file)
    watchFile(file, { interval: everyMs }, () => this.#readAgain())
  }

  close() {
    unwatchFile(this.#file)
  }

  /** A file with a mistake in it leaves the keys that were. */
  #readAgain() {
    try {
      this.#keys = read(this.#file)
      log.info('keys were read again', { count: this.#keys.size })
    } catch (problem) {
      log.error(`the keys stay as they were: ${problem.message}`, { path: this.#file })
    }
  }

  authenticate({ token }) {
    if (token === '') return { refusal: refuse('token_missing', 'a key is needed') }
    const key = this.#keys.get(createHash('sha256').update(token).digest('hex'))
    if (key === undefined) return { refusal: refuse('token_unknown_key', 'this key is not in the list', 'Use a key that is in the list.') }
    if (key.expires !== undefined && key.expires <= Date.now()) {
      return { refusal: refuse('token_expired', `the key ${key.id} was good until ${new Date(key.expires).toISOString()}`) }
    }
    const grants = [
      ...key.publish.map((filter) => ({ actions: ['ACTION_PUBLISH'], filter })),
      ...key.subscribe.map((filter) => ({ actions: ['ACTION_SUBSCRIBE', 'ACTION_PRESENCE'], filter })),
    ]
    return {
      identity: {
        user: key.user,
        token_id: key.id,
        grants,
        limits: { publish_rate: key.publishes_per_second },
        ...(key.expires === undefined ? { never_expires: true } : { expires_at_ms: key.expires }),
      },
    }
  }
}

/** Reads and checks the file. What it throws names the key that is wrong. */
function read(file) {
  const list = JSON.parse(readFileSync(file, 'utf8'))
  check(list, fileSchema)
  const keys = new Map()
  list.keys.forEach(({ publish = [], subscribe = [], publishes_per_second = 0, expires, ...key }, i) => {
    if (!/^[0-9a-f]{64}$/.test(key.sha256)) throw new BadConfig(`keys[${i}].sha256: want 64 hexadecimal digits`)
    if (keys.has(key.sha256)) throw new BadConfig(`keys[${i}].sha256: the same key is there twice`)
    const end = expires === undefined ? undefined : Date.parse(expires)
    if (Number.isNaN(end)) throw new BadConfig(`keys[${i}].expires: want a time like 2030-01-31T12:00:00Z`)
    keys.set(key.sha256, { ...key, publish, subscribe, publishes_per_second, expires: end })
  })
  return keys
}

serve({ name: 'auth-keys', version: '1.0.0', kind: 'auth', schema, make: (config) => new Keys(config) })
