import assert from 'node:assert/strict'

import { decodeMulti } from '@msgpack/msgpack'

import { type Client, ClientImpl } from '../src/client.js'
import type { Serve } from '../src/client.js'
import type { Clock, Options } from '../src/options.js'
import type { Event } from '../src/message.js'
import { type Position, tokenOf } from '../src/position.js'
import type { Subscription } from '../src/subscription.js'
import { msgpack } from '../src/writer.js'

/** settled waits until nothing is left to do but what waits for a timer or for the other end. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** FakeClock stands still until it is told to go on. Delays of backoffs are half of what they may be. */
export class FakeClock implements Clock {
  private time = 1_000
  private timers: { at: number; f: () => void }[] = []
  _date = () => 1_767_225_600_000 + this.time
  _now = () => this.time
  _random = () => 0.5
  _setTimeout = (f: () => void, ms: number) => {
    const timer = { at: this.time + Math.min(ms, 2 ** 31 - 1), f } // as timers are
    this.timers.push(timer)
    return timer
  }
  _clearTimeout = (timer: unknown) => {
    this.timers = this.timers.filter((t) => t !== timer)
  }
  /** pending is in how many milliseconds the timers fire. */
  pending(): number[] {
    return this.timers.map((t) => t.at - this.time).sort((a, b) => a - b)
  }
  async advance(ms: number): Promise<void> {
    await settled()
    for (const until = this.time + ms; ; ) {
      const [next] = this.timers.filter((t) => t.at <= until).sort((a, b) => a.at - b.at)
      if (!next) {
        this.time = until
        return
      }
      this.time = next.at
      this._clearTimeout(next)
      next.f()
      await settled()
    }
  }
}

export const epoch1 = '\x01\x02\x03\x04\x05\x06\x07\x08'
export const epoch2 = '\x02\x02\x03\x04\x05\x06\x07\x08'
export const term1 = '\x11\x12\x13\x14\x15\x16\x17\x18'

/** at is a position: of the first run of the broker, and of one store. */
export function at(seq: number, offset = 0, epoch = epoch1): Position {
  return { _epoch: epoch, _seq: seq, _term: term1, _offset: offset }
}

export function token(seq: number, offset = 0, epoch = epoch1): Uint8Array {
  return tokenOf(at(seq, offset, epoch))
}

type Sent = unknown[]

/** apart is what a Subscribes stands for, or the packet itself. */
function apart(p: Sent): Sent[] {
  if (p[0] !== 25) return [p]
  return (p[1] as Sent[]).map(([id, filter, own]) => [3, id, filter, ...(own || p[2] ? [{ ...(p[2] as object), ...(own as object) }] : [])])
}

/** Socket is the broker's end of one connection of a client. */
export class Socket {
  readonly sent: Sent[] = []
  /** How many packets each WebSocket message had. */
  readonly messages: number[] = []
  closed: number | undefined
  terminated = false
  /** A Subscribes is taken as it comes, not as what it stands for. */
  whole = false
  protocol = 'carillon.v1'
  binaryType = ''
  onopen: (() => void) | null = null
  onmessage: ((e: { data: ArrayBuffer | string }) => void) | null = null
  onclose: ((e: { code: number; reason: string }) => void) | null = null
  onerror: (() => void) | null = null

  constructor(
    readonly url: string,
    readonly asked: string,
  ) {}

  send(b: Uint8Array): void {
    const packets = [...decodeMulti(b)] as Sent[]
    this.messages.push(packets.length)
    this.sent.push(...(this.whole ? packets : packets.flatMap(apart)))
  }

  close(code = 1000): void {
    this.closed ??= code
  }

  terminate(): void {
    this.terminated = true
    this.close(1006)
  }

  /** take is the next packet that the client has sent, which has to be of that type. */
  take(type: number): Sent {
    const p = this.sent.shift()
    assert.equal(p?.[0], type, `the client sent ${JSON.stringify(p)}`)
    return p as Sent
  }

  async open(): Promise<this> {
    this.onopen?.()
    await settled()
    return this
  }

  /** packets sends packets in one message. */
  async packets(...packets: unknown[][]): Promise<void> {
    this.raw(Buffer.concat(packets.map((p) => msgpack(p))))
    await settled()
  }

  raw(b: Uint8Array): void {
    this.onmessage?.({ data: Uint8Array.from(b).buffer })
  }

  async drop(code = 1006, reason = ''): Promise<void> {
    this.onclose?.({ code, reason })
    await settled()
  }
}

/** FakeBroker does what the test says, packet by packet. */
export class FakeBroker {
  readonly clock = new FakeClock()
  readonly sockets: Socket[] = []
  readonly statuses: unknown[] = []

  client(options: Options = {}, serve?: Serve): ClientImpl {
    const { sockets } = this
    class WebSocket {
      constructor(url: string, protocols: string) {
        const socket = new Socket(url, protocols)
        sockets.push(socket)
        return socket
      }
    }
    const c = new ClientImpl('ws://broker/ws', { WebSocket: WebSocket as never, ...options }, serve, this.clock)
    c.on('status', (s) => this.statuses.push(s))
    return c
  }

  /** accept is the next connection, greeted unless hello is null. */
  async accept(hello: unknown[] | null = [2, 's', token(0), 25_000]): Promise<Socket> {
    await settled()
    const socket = this.sockets.shift()
    assert.ok(socket, 'no connection came')
    await socket.open()
    assert.equal(socket.sent[0]?.[0], 1)
    if (hello) await socket.packets(hello)
    return socket
  }

  /** connected is a client and its connection, from which Connect has been taken. */
  async connected(options: Options = {}, hello?: unknown[]): Promise<{ c: Client; socket: Socket }> {
    const c = this.client(options)
    const socket = await this.accept(hello)
    socket.take(1)
    return { c, socket }
  }
}

/** message is a Message packet. */
export function message(seq: number, topic: string, value: unknown = seq, offset = 0): unknown[] {
  return [9, seq, offset, topic, msgpack(value), 1]
}

/** record collects what a subscription tells, in short: data of messages, and the other events by name. */
export function record(s: Subscription): unknown[] {
  const seen: unknown[] = []
  const run = async () => {
    for await (const e of s.events()) seen.push(short(e))
    seen.push('end')
  }
  run().catch((error: unknown) => seen.push(String(error)))
  return seen
}

export function short(e: Event): unknown {
  if (e.type === 'message') return e.retained ? { retained: e.data } : e.data
  if (e.type === 'gap') return { gap: e.reason, ...(e.count !== undefined && { count: e.count }) }
  return e.type === 'snapshot' && e.reset ? 'reset' : e.type
}

/** quiet is p, whose rejection somebody will look at later. */
export function quiet<T>(p: Promise<T>): Promise<T> {
  p.catch(() => {})
  return p
}

/** live is a subscription to "a" without retained values that is live, and what it has seen. */
export async function live(b: FakeBroker, options: Options = {}) {
  const { c, socket } = await b.connected(options)
  const s = c.subscribe('a', { retained: false })
  await settled()
  await socket.packets([4, socket.take(3)[1], token(0)])
  return { c, socket, s }
}
