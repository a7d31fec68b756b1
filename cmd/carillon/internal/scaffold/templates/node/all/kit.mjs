// What stands around the calls of a Carillon plugin: its start, its configuration and its end.
//
//   serve({ name: 'auth-doors', version: '0.1.0', kind: 'auth', schema, make: (config) => new Doors(config) })
//
// make is called once with the configuration and returns, or promises, an object with a method for each call of the
// contract that it serves, by its name there in lower case: authenticate, loadRetained, append. A call with one answer gets
// the request and returns, or promises, the answer. A call with a stream of answers gets the request, or the stream of
// requests (for await), and a function send that is awaited for each answer, and returns when it has sent the last one; the
// AbortSignal that it gets as its third argument says that nobody listens any more. Messages are plain objects with the
// names of the contract. What a method throws is "no decision" to the broker, and never a refusal.
//
// This file is the same in every plugin.

import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { lstatSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

import grpc from '@grpc/grpc-js'
import loader from '@grpc/proto-loader'
import protobuf from 'protobufjs'

import auth from './contract/auth.proto'
import common from './contract/common.proto'
import store from './contract/store.proto'

const cookie = 'e5b1c1e7-started-by-a-carillon-broker'
const maxMessageBytes = 4 << 20

/** A configuration that is refused for good. The text names the key, and holds no secret. */
export class BadConfig extends Error {}

/** Follow was asked to begin at records that are no longer held. */
export class Trimmed extends Error {}

/** A line of the broker's log. */
export const log = {
  info: (msg, more = {}) => print({ level: 'info', msg, ...more }),
  error: (msg, more = {}) => print({ level: 'error', msg, ...more }),
}

const print = (line) => process.stderr.write(`${JSON.stringify(line)}\n`)

/** A refusal, which reaches the client: a code of docs/codes.md and what was wrong in this case. */
export const refuse = (code, detail, hint = '') => ({ code, detail, hint })

/**
 * Runs the plugin until the broker asks it to end. A person who looks into it starts it with --debug, or with --debug=unix:/path, under a
 * debugger as a rule: it waits there for a broker (auth.attach, store.attach) or for `carillon plugin test --attach`.
 */
export async function serve({ name, version, kind, make, schema, capabilities = [] }) {
  const started = process.env.CARILLON_PLUGIN === cookie
  const debug = process.argv.slice(2).find((word) => word === '--debug' || word.startsWith('--debug='))
  if (!started && debug === undefined) {
    process.stderr.write(
      `${name} is a Carillon plugin of kind ${kind} and does nothing by itself: a broker starts it.\n` +
        `Name it in carillon.yaml (${kind}: {path: …, sha256: …}) and run \`carillon serve\`; start it with --debug to attach a broker or a test to it.\n`,
    )
    process.exit(2)
  }
  if (started) {
    process.on('SIGTERM', () => {}) // the broker ends its plugins, in its own order
    process.stdin.resume().on('close', () => process.exit(3)) // the lifeline: the broker is gone
  }

  const plugin = { object: null }
  const server = new grpc.Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
  })
  const describe = () => ({
    name, version, kind, contract_versions: [1], capabilities, config_schema: schema ? JSON.stringify(schema) : '',
  })
  add(server, 'common', 'PluginService', () => ({ describe, configure: configure(plugin, schema ?? {}, make), health: health(plugin) }))
  add(server, kind, kind === 'auth' ? 'AuthService' : 'StoreService', () => plugin.object)
  server.addService(controller, { Shutdown: (call, answer) => (answer(null, {}), end(server, plugin)) })

  if (!started) return wait(server, plugin, name, kind, debug.slice('--debug='.length))
  const { credentials, certificate } = serverCredentials(process.env.PLUGIN_CLIENT_CERT)
  const socket = join(process.env.PLUGIN_UNIX_SOCKET_DIR, 'plugin.sock')
  await listen(server, socket, credentials)
  process.stdout.write(`1|1|unix|${socket}|grpc|${certificate}\n`)
}

const listen = (server, socket, credentials) => new Promise((resolve, reject) => {
  server.bindAsync(`unix:${socket}`, credentials, (problem) => (problem ? reject(problem) : resolve()))
})

/** Waits for who attaches, at an address that only this user can connect to, until an interrupt. */
async function wait(server, plugin, name, kind, at) {
  const socket = at === '' ? join(mkdtempSync(join(tmpdir(), 'carillon-debug-')), 'plugin') : at.replace(/^unix:/, '')
  await sweep(socket)
  const mask = process.umask(0o177) // no other user can connect to it, from its first moment on
  await listen(server, socket, grpc.ServerCredentials.createInsecure())
  process.umask(mask)
  process.stderr.write(
    `${name} waits at unix:${socket}\ncarillon dev --${kind}-attach unix:${socket}\ncarillon plugin test --attach unix:${socket} --only CASE\n`,
  )
  const leave = async () => {
    server.forceShutdown()
    rmSync(at === '' ? dirname(socket) : socket, { recursive: true, force: true })
    await plugin.object?.close?.()
    process.exit(0)
  }
  process.on('SIGINT', leave).on('SIGTERM', leave)
}

/** Removes the socket that a process has left which a debugger ended. One that somebody listens at stays. */
const sweep = (socket) => new Promise((done) => {
  if (!lstatSync(socket, { throwIfNoEntry: false })?.isSocket()) return done()
  const asked = connect(socket)
  asked.on('connect', () => done(asked.destroy()))
  asked.on('error', ({ code }) => done(code === 'ECONNREFUSED' && rmSync(socket)))
})

const configure = (plugin, schema, make) => async ({ config }) => {
  if (plugin.object !== null) throw failure(grpc.status.FAILED_PRECONDITION, 'the plugin is configured already')
  try {
    const given = JSON.parse(config.toString() || '{}')
    check(given, schema)
    plugin.object = await make(given)
  } catch (problem) {
    if (problem instanceof BadConfig) throw failure(grpc.status.INVALID_ARGUMENT, problem.message)
    throw problem
  }
  return {}
}

const typeOf = (value) => (Array.isArray(value) ? 'array' : value === null ? 'null' : Number.isInteger(value) ? 'integer' : typeof value)

/**
 * Holds value against a schema as far as the code relies on it: types, required and unknown keys. The broker has held it against all
 * of the schema, but the plugin does not rest on that.
 */
export function check(value, schema, key = '') {
  const type = typeOf(value)
  const wanted = schema.type
  if (wanted !== undefined && type !== wanted && !(type === 'integer' && wanted === 'number')) throw new BadConfig(`${key || 'configuration'}: want ${wanted}`)
  if (type === 'array') value.forEach((part, i) => check(part, schema.items ?? {}, `${key}[${i}]`))
  if (type !== 'object') return
  const inside = key && `${key}.`
  for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) throw new BadConfig(`${inside}${name}: missing`)
  for (const [name, part] of Object.entries(value)) {
    const known = schema.properties?.[name]
    if (known === undefined && schema.additionalProperties === false) throw new BadConfig(`${inside}${name}: unknown key`)
    check(part, known ?? {}, inside + name)
  }
}

const health = (plugin) => () => {
  const detail = plugin.object === null ? 'not configured yet' : (plugin.object.problem?.() ?? '')
  return { status: detail ? 'STATUS_NOT_SERVING' : 'STATUS_SERVING', detail }
}

/** Ends the process when what it was asked is answered, or in a second. */
function end(server, plugin) {
  const leave = async () => {
    await plugin.object?.close?.()
    process.exit(0)
  }
  setTimeout(() => server.forceShutdown(), 1000)
  server.tryShutdown(leave)
}

/** go-plugin's service, whose one call has empty messages. */
const empty = { requestSerialize: () => Buffer.alloc(0), requestDeserialize: () => ({}), responseSerialize: () => Buffer.alloc(0), responseDeserialize: () => ({}) }
const controller = { Shutdown: { path: '/plugin.GRPCController/Shutdown', requestStream: false, responseStream: false, ...empty } }

/** The contract's own .proto files. 64-bit numbers are JavaScript's, which are exact up to 2^53. */
const contract = (() => {
  const root = new protobuf.Root()
  for (const text of [common, auth, store]) protobuf.parse(text, root, { keepCase: true })
  const options = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true }
  return grpc.loadPackageDefinition(loader.fromJSON(root.resolveAll().toJSON(), options)).carillon.plugin
})()

/** Serves the calls of a service by the methods of target(). */
function add(server, kind, service, target) {
  const { service: definition } = contract[kind].v1[service]
  const calls = {}
  for (const [name, { requestStream, responseStream }] of Object.entries(definition)) {
    const method = name[0].toLowerCase() + name.slice(1)
    calls[name] = responseStream ? streaming(method, target, requestStream) : unary(method, target)
  }
  server.addService(definition, calls)
}

const unary = (name, target) => async (call, answer) => {
  try {
    answer(null, await find(name, target)(call.request))
  } catch (problem) {
    answer(asStatus(name, problem))
  }
}

const streaming = (name, target, requestStream) => async (call) => {
  const gone = new AbortController()
  call.on('cancelled', () => gone.abort())
  const send = async (message) => {
    if (call.write(message) || gone.signal.aborted) return
    await new Promise((resolve) => {
      call.once('drain', resolve)
      gone.signal.addEventListener('abort', resolve, { once: true })
    })
  }
  try {
    await find(name, target)(requestStream ? call : call.request, send, gone.signal)
    call.end()
  } catch (problem) {
    if (!gone.signal.aborted) call.emit('error', asStatus(name, problem))
  }
}

/** The plugin's own method. */
function find(name, target) {
  const object = target()
  if (object === null) throw failure(grpc.status.FAILED_PRECONDITION, 'the plugin is not configured yet')
  if (!object[name]) throw failure(grpc.status.UNIMPLEMENTED, `this plugin has no ${name}`)
  return object[name].bind(object)
}

/** What a call ends with: the broker's log gets the text, no client does. */
function asStatus(name, problem) {
  if (problem.code !== undefined && problem.details !== undefined) return problem
  log.error(`${name}: ${problem.message}`)
  return failure(problem instanceof Trimmed ? grpc.status.OUT_OF_RANGE : grpc.status.UNAVAILABLE, problem.message)
}

const failure = (code, details) => Object.assign(new Error(details), { code, details })

/** A certificate of this process's own, and credentials that let in nobody but the broker. */
function serverCredentials(clientCertificate) {
  if (clientCertificate === undefined) return { credentials: grpc.ServerCredentials.createInsecure(), certificate: '' }
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const certificate = selfSigned(publicKey, privateKey).toString('base64')
  const pair = {
    private_key: Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    cert_chain: Buffer.from(`-----BEGIN CERTIFICATE-----\n${certificate.match(/.{1,64}/g).join('\n')}\n-----END CERTIFICATE-----\n`),
  }
  const credentials = grpc.ServerCredentials.createSsl(Buffer.from(clientCertificate), [pair], true)
  return { credentials, certificate: certificate.replace(/=+$/, '') }
}

/** An X.509 certificate (RFC 5280) for localhost, for ten years, as DER: Node can read them, but has no call that makes one. */
function selfSigned(publicKey, privateKey) {
  const der = (tag, ...parts) => {
    const body = Buffer.concat(parts)
    const length = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255]
    return Buffer.concat([Buffer.from([tag, ...length]), body])
  }
  const sequence = (...parts) => der(0x30, ...parts)
  const oid = (hex) => der(0x06, Buffer.from(hex, 'hex'))
  const text = (tag, value) => der(tag, Buffer.from(value))
  const time = (ms) => text(0x18, new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, ''))
  const day = 24 * 3600 * 1000
  const algorithm = sequence(oid('2a8648ce3d040302')) // ecdsa-with-SHA256
  const name = sequence(der(0x31, sequence(oid('550403'), text(0x0c, 'localhost'))))
  const alternative = sequence(oid('551d11'), der(0x04, sequence(text(0x82, 'localhost')))) // subjectAltName
  const serial = randomBytes(8)
  serial[0] = (serial[0] & 0x7f) | 0x40 // positive, and not shortened
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, serial),
    algorithm,
    name,
    sequence(time(Date.now() - day), time(Date.now() + 3650 * day)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(alternative)),
  )
  return sequence(body, algorithm, der(0x03, Buffer.from([0]), sign('sha256', body, privateKey)))
}
