// Drives the SDK for `carillon conformance --sdk "node sdk/js/test/conformance.mjs"`: commands come on standard input and events go to standard
// output, a JSON object a line, as spec/conformance/README.md says. It takes the files for browsers that stand in dist.
import { createInterface } from 'node:readline'

import { WebSocket } from 'ws'

import { connect } from '../dist/carillon.js'
import { deflate } from '../dist/compress.js'
import { presence, watchPresence } from '../dist/presence.js'

const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n')
const subscriptions = new Map()
let client
/** Takes the token that was asked for. */
let answer

const commands = {
  connect({ url, token, ask, compress }) {
    const source = ({ reason }) => {
      tell({ event: 'token', reason })
      return new Promise((resolve) => (answer = resolve))
    }
    client = connect(url, { WebSocket, transport: 'websocket', name: 'conformance', token: ask ? source : token, compress: compress ? deflate : undefined })
    client.ready.catch(() => {})
    client.on('status', ({ state, error }) => tell({ event: 'status', state, code: error?.code }))
  },
  token: ({ token }) => answer(token),
  subscribe({ name, filter, retained, since, last, latest, max_rate: maxRate }) {
    const s = client.subscribe(filter, { retained, since, last, latest, maxRate })
    subscriptions.set(name, s)
    void read(name, s)
  },
  unsubscribe: ({ name }) => subscriptions.get(name)?.close(),
  publish({ name, topic, data, retain, timeout }) {
    client.publish(topic, data, { retain, timeout }).then(
      ({ durability, duplicate }) => tell({ event: 'published', name, durability, duplicate }),
      failed(name),
    )
  },
  presence: ({ name, topic }) => presence(client, topic).then(members(name), failed(name)),
  watch: async ({ name, topic }) => {
    try {
      for await (const m of watchPresence(client, topic)) members(name)(m)
    } catch (error) {
      failed(name)(error)
    }
  },
  close: () => client.close(),
}

const members = (name) => ({ count, users }) => tell({ event: 'members', name, count, users })
const failed = (name) => ({ code }) => tell({ event: 'failed', name, code })

/** read tells what comes to a subscription. */
async function read(subscription, s) {
  try {
    for await (const e of s.events()) {
      if (e.type === 'message') tell({ event: 'message', subscription, topic: e.topic, data: e.data ?? null, retained: e.retained })
      if (e.type === 'gap') tell({ event: 'gap', subscription, reason: e.reason })
      if (e.type === 'snapshot') tell({ event: 'snapshot', subscription, reset: e.reset })
    }
  } catch ({ code }) {
    if (code !== 'closed') tell({ event: 'ended', subscription, code })
  }
}

// A WebSocket as browsers have it does not show how an upgrade was refused.
tell({ event: 'ready', lacks: ['upgrade_answers'] })
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { do: name, ...args } = JSON.parse(line)
    commands[name](args)
  })
  .on('close', () => process.exit(0))
