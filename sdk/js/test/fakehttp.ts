import assert from 'node:assert/strict'

import type { ClientImpl } from '../src/client.js'
import { withFallback } from '../src/fallback.js'
import type { Options, Transport } from '../src/options.js'
import { cursorOf } from '../src/position.js'
import { at, FakeBroker, settled } from './fake.js'

/** Request is a request of the client, to be answered by the test. */
export class Request {
  readonly url: URL
  readonly method: string
  readonly headers: Record<string, string>
  readonly body: unknown
  private stream: ReadableStreamDefaultController<Uint8Array> | undefined
  private answered = false

  constructor(
    url: URL,
    readonly init: RequestInit,
    private readonly resolve: (r: Response) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    this.url = url
    this.method = init.method ?? 'GET'
    this.headers = (init.headers ?? {}) as Record<string, string>
    this.body = init.body ? JSON.parse(init.body as string) : undefined
    init.signal?.addEventListener('abort', () => {
      if (!this.answered) this.fail(init.signal?.reason)
      else this.stream?.error(init.signal?.reason)
    })
  }

  get aborted(): boolean {
    return !!this.init.signal?.aborted
  }

  /** query is the parameters, with filters as a list, without the client's origin. */
  get query(): object {
    const { origin: _, ...q } = Object.fromEntries(this.url.searchParams)
    return { ...q, filter: this.url.searchParams.getAll('filter') }
  }

  async json(body: unknown, status = 200, headers: Record<string, string> = {}): Promise<void> {
    this.answered = true
    this.resolve(status === 204 ? new Response(null, { status }) : new Response(JSON.stringify(body), { status, headers }))
    await settled()
  }

  async fail(error: unknown = new TypeError('fetch failed')): Promise<void> {
    this.reject(error)
    await settled()
  }

  /** open begins a stream of server-sent events. */
  async open(...events: string[]): Promise<this> {
    this.answered = true
    this.resolve(new Response(new ReadableStream({ start: (c) => void (this.stream = c) })))
    if (events.length) await this.send(...events)
    await settled()
    return this
  }

  async send(...events: string[]): Promise<void> {
    this.stream?.enqueue(new TextEncoder().encode(events.join('')))
    await settled()
  }

  async end(): Promise<void> {
    this.stream?.close()
    await settled()
  }
}

/** event is a server-sent event. */
export function event(name: string, data: unknown, id = ''): string {
  return `event: ${name}\n${id && `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`
}

export const id = (seq: number, epoch?: string) => `id: ${cursor(seq, epoch)}\n\n`
export const cursor = (seq: number, epoch?: string) => cursorOf(at(seq, 0, epoch))

/** said is a message of the stream. */
export function said(seq: number, topic: string, data: unknown = seq, more: object = {}): string {
  return event('message', { topic, data, ts: 1, ...more }, cursor(seq))
}

/** polled is a message in the answer to a poll. */
export function polled(seq: number, topic: string, data: unknown = seq): object {
  return { topic, data, ts: 1, id: cursor(seq) }
}

/** FakeHttp is a broker that is reached over HTTP. WebSockets are those of a FakeBroker. */
export class FakeHttp {
  readonly ws = new FakeBroker()
  readonly clock = this.ws.clock
  readonly requests: Request[] = []

  readonly fetch = (url: URL, init: RequestInit): Promise<Response> =>
    new Promise((resolve, reject) => this.requests.push(new Request(url, init, resolve, reject)))

  client(transport?: Transport, options: Options = {}): ClientImpl {
    return this.ws.client({ fetch: this.fetch as never, ...options }, withFallback(transport))
  }

  /** take is the next request, which has to be for that path. */
  async take(path: string, method = 'GET'): Promise<Request> {
    await settled()
    const r = this.requests.shift()
    assert.ok(r, 'no request came')
    assert.deepEqual([r.method, r.url.pathname], [method, path])
    return r
  }

  /** start answers the poll with which new subscriptions begin. */
  async start(seq: number, messages: object[] = []): Promise<object> {
    const r = await this.take('/v1/subscribe')
    await r.json({ messages, cursor: cursor(seq) })
    return r.query
  }
}
