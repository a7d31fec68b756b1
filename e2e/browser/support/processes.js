import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createWebServer } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { here, root } from './paths.js'

/**
 * freePort is a port of this machine that nobody listens at, below those that systems give to connections that go out: such a one could
 * take it while its broker is away.
 */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_768)
    const server = createServer()
    const free = await new Promise((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}

/** Process is a program that has said that it is ready. */
class Process {
  constructor(name, child) {
    this.name = name
    this.child = child
    this.said = ''
    this.ended = new Promise((resolve) => child.once('exit', resolve))
  }

  /** kill ends it with SIGKILL, with everything that it has started in its group. */
  async kill() {
    try {
      process.kill(-this.child.pid, 'SIGKILL')
    } catch {
      // it has ended already
    }
    await this.ended
  }
}

/** run starts a program and waits until it says what ready matches, on either of its outputs. */
function run(name, command, args, ready, options = {}) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('CARILLON_')))
  const child = spawn(command, args, { ...options, env: { ...env, ...options.env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  const p = new Process(name, child)
  return new Promise((resolve, reject) => {
    const tooLate = setTimeout(() => void p.kill().then(() => reject(new Error(`${name} was not ready in time:\n${p.said}`))), 30_000)
    const hear = (text) => {
      p.said += text
      if (!ready.test(p.said)) return
      clearTimeout(tooLate)
      resolve(p)
    }
    child.stdout.setEncoding('utf8').on('data', hear)
    child.stderr.setEncoding('utf8').on('data', hear)
    child.once('error', reject)
    child.once('exit', (code) => {
      clearTimeout(tooLate)
      reject(new Error(`${name} ended with ${code}:\n${p.said}`))
    })
  })
}

/** House is what a test has started; end() takes it all down. */
export class House {
  #down = []
  #processes = []
  #dir = mkdtempSync(join(tmpdir(), 'carillon-browser-'))

  /** What is killed leaves its temporary files where end() takes them away. */
  get #temporary() {
    return { TMPDIR: this.#dir }
  }

  /** Of the broker and of the shop. */
  get keyFile() {
    const file = join(this.#dir, 'carillon.key')
    writeFileSync(file, '0123456789abcdef0123456789abcdef\n', { mode: 0o600 })
    return file
  }

  folder() {
    return mkdtempSync(join(this.#dir, 'data-'))
  }

  /** dev runs `carillon dev`, on its own port unless told another one. */
  dev(port, ...args) {
    const at = port ? ['--listen', `127.0.0.1:${port}`] : []
    return this.#started(run('carillon dev', process.env.CARILLON_BIN, ['dev', ...at, '--admin-listen', 'none', ...args], /carillon: ready/, { env: this.#temporary }))
  }

  /** shopBroker runs the broker with the shop's own configuration, for pages of that origin. */
  shopBroker(port, origin, dataDir) {
    this.keyFile // beside the working folder, as the configuration wants it
    const args = ['serve', '-c', join(root, 'examples/shop/carillon.yaml'), '--listen', `127.0.0.1:${port}`, '--admin-listen', 'none', '--data-dir', dataDir]
    return this.#started(run('carillon serve', process.env.CARILLON_BIN, args, /carillon: ready/, { cwd: this.#dir, env: { CARILLON_ORIGINS: origin, ...this.#temporary } }))
  }

  /** shop runs the PHP shop. */
  shop(php, port, brokerPort, pagePort) {
    const env = {
      CARILLON_URL: `http://127.0.0.1:${brokerPort}`,
      CARILLON_PAGE_URL: `http://127.0.0.1:${pagePort}`,
      CARILLON_KEY: this.keyFile,
      SHOP_DATA: this.folder(),
    }
    return this.php(php, port, join(root, 'examples/shop/public'), env)
  }

  /** php runs PHP's own server for a folder. */
  php(php, port, folder, env = {}) {
    const args = ['-d', `session.save_path=${this.folder()}`, '-S', `127.0.0.1:${port}`, '-t', folder]
    return this.#started(run('php', php, args, /Development Server/, { env }))
  }

  /** vite runs Vite's development server for the app of these tests, at the port that it takes by itself. */
  vite() {
    const args = [join(here, 'node_modules/vite/bin/vite.js'), 'vite-app', '--strictPort', '--clearScreen', 'false']
    return this.#started(run('vite', process.execPath, args, /ready in/, { cwd: here, env: { NO_COLOR: '1' } }))
  }

  /** emptyPage serves a page with nothing on it and returns its address. */
  async emptyPage() {
    const server = createWebServer((_, res) => res.setHeader('Content-Type', 'text/html').end('<!doctype html><title>a page elsewhere</title>'))
    const port = await freePort()
    await new Promise((resolve, reject) => server.listen(port, '127.0.0.1', resolve).once('error', reject))
    this.#down.push(() => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    })
    return `http://localhost:${port}/`
  }

  /** with has end() call down too. */
  with(down) {
    this.#down.push(down)
  }

  /** said is what everything that runs has printed. */
  get said() {
    return this.#processes.map((p) => `--- ${p.name}\n${p.said}`).join('\n')
  }

  async end() {
    for (const down of this.#down.reverse()) await down()
    rmSync(this.#dir, { recursive: true, force: true })
  }

  async #started(starting) {
    const p = await starting
    this.#processes.push(p)
    this.#down.push(() => p.kill())
    return p
  }
}
