import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket, connect as dial } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

const binary = process.env['CARILLON_BIN'] ?? 'carillon'

/** within fails when p does not settle in time; what it says is what was waited for. */
export function within<T>(what: string, p: Promise<T>, seconds = 30): Promise<T> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen within ${seconds} s`)), seconds * 1000)
  })
  return Promise.race([p, late]).finally(() => clearTimeout(timer))
}

/** freePort is a free port below those that systems give to connections that go out: such a one could take it while its broker is away. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_768)
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}

/** Broker is a real one: the executable CARILLON_BIN in a process of its own. */
export class Broker {
  readonly dir = mkdtempSync(join(tmpdir(), 'carillon-js-test-'))
  port = 0
  private process: ChildProcess | undefined
  private said = ''

  /** start runs a broker until the end of the test. config is its configuration; without one everybody may do everything. */
  static async start(t: TestContext, config = ''): Promise<Broker> {
    const b = new Broker()
    b.port = await freePort()
    writeFileSync(join(b.dir, 'carillon.yaml'), config + `\nadmin: {listen: none}\ndata_dir: ${b.dir}/data\nlimits: {publish_rate: unlimited, publish_bytes: unlimited}\n`)
    t.after(async () => {
      await b.kill()
      rmSync(b.dir, { recursive: true, force: true })
    })
    await b.start()
    return b
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const env = Object.fromEntries(Object.entries(process.env).filter(([k]) => !k.startsWith('CARILLON_')))
    const p = spawn(binary, ['serve', '-c', join(this.dir, 'carillon.yaml'), '--listen', this.address], { env, stdio: ['ignore', 'ignore', 'pipe'] })
    this.process = p
    await within(
      'the start of the broker',
      new Promise<void>((resolve, reject) => {
        p.stderr?.on('data', (b: Buffer) => {
          this.said += String(b)
          if (this.said.includes('carillon: ready')) resolve()
        })
        p.on('exit', () => reject(new Error(`the broker said: ${this.said}`)))
        p.on('error', reject)
      }),
    ).catch((error: unknown) => {
      throw new Error(`${error}; the broker said: ${this.said}`, { cause: error })
    })
  }

  /** kill is kill -9. */
  async kill(): Promise<void> {
    const p = this.process
    this.process = undefined
    if (!p || p.exitCode !== null || p.signalCode !== null) return
    const ended = new Promise((resolve) => p.on('exit', resolve))
    p.kill('SIGKILL')
    await ended
    this.said = ''
  }

  /** run runs a command of the executable against this broker and returns what it wrote. */
  async run(...args: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const env = { ...process.env, CARILLON_SERVER: `ws://${this.address}/ws` }
      execFile(binary, args, { env, cwd: this.dir, timeout: 30_000 }, (error, stdout, stderr) => (error ? reject(new Error(stderr)) : resolve(stdout)))
    })
  }

  /** token makes a token of alice. */
  async token(...args: string[]): Promise<string> {
    return (await this.run('token', 'new', '-c', 'carillon.yaml', '--sub', 'alice', ...args)).trim()
  }
}

/** Proxy stands in front of a broker and breaks connections. */
export class Proxy {
  /** Connections whose request this matches are closed at once. */
  refuse: RegExp | undefined
  /** Of connections whose request this matches nothing comes back. */
  swallow: RegExp | undefined
  connections = 0
  private readonly open = new Set<Socket>()

  private constructor(
    private readonly server: Server,
    private readonly target: number,
  ) {}

  static async start(t: TestContext, b: Broker): Promise<Proxy> {
    const server = createServer()
    const p = new Proxy(server, b.port)
    server.on('connection', (s) => p.serve(s))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => {
      p.cut()
      server.close()
    })
    return p
  }

  get address(): string {
    return `127.0.0.1:${(this.server.address() as { port: number }).port}`
  }

  /**
   * cut resets every connection; those that are at their end are destroyed: when a socket is reset while it shuts down, Node 20 never
   * closes its handle and waits for that without end when the process would exit.
   */
  cut(): void {
    for (const s of this.open) s.writableEnded ? s.destroy() : s.resetAndDestroy()
    this.open.clear()
  }

  private serve(client: Socket): void {
    this.connections++
    client.on('error', () => {})
    this.open.add(client)
    client.once('data', (head) => {
      const request = String(head)
      if (this.refuse?.test(request)) return client.destroy()
      const broker = dial(this.target, '127.0.0.1')
      this.open.add(broker)
      broker.on('error', () => client.destroy())
      broker.on('close', () => client.destroy())
      client.on('close', () => broker.destroy())
      broker.write(head)
      client.pipe(broker)
      if (this.swallow?.test(request)) broker.resume()
      else broker.pipe(client)
    })
  }
}

/** withTokens is the configuration of a broker that asks for them. */
export const withTokens = `
auth:
  plugin: auth-jwt
  config:
    issuer: https://app.example.com
    audience: carillon
    leeway: 1s
    keys:
      - {kid: main, alg: HS256, secret: "0123456789abcdef0123456789abcdef"}
`
