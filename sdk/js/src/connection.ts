import type { ClientImpl, Serve } from './client.js'
import { CarillonError, nameOf, Refusal } from './errors.js'
import { encode, type Packet, readPackets, subprotocol, Type } from './packets.js'
import { errorOf, Session } from './session.js'

/** How long a pong may take, in milliseconds. */
const pongGrace = 10_000

/** serveWebSocket makes a session over WebSocket and serves it until it ends. */
export const serveWebSocket: Serve = (c, token) => new Promise((_, reject) => new Connection(c, token, reject))

/** Connection is one WebSocket with a session of the broker on it. */
class Connection {
  private readonly _ws: WebSocket
  private readonly _session: Session
  /** What has come and is not handled yet; the last one may be the end. */
  private readonly _frames: (Uint8Array | { _error: unknown })[] = []
  private _handling = false
  private _greeted = false
  private _over = false
  private _writing = false
  private _silence = 0
  private _heard: number
  private _watch: unknown

  constructor(
    private readonly _c: ClientImpl,
    token: string,
    private readonly _ended: (error: unknown) => void,
  ) {
    const { WebSocket = globalThis.WebSocket, connectTimeout = 10_000, name = 'carillon-js' } = _c._options
    if (!WebSocket) throw new Refusal(new CarillonError('connection', 'there is no WebSocket here: give its constructor as an option'), false)
    this._session = new Session(_c, () => this._write())
    this._heard = _c._clock.now()
    this._watch = _c._clock.setTimeout(() => this._end(lost(`no session after ${connectTimeout} ms`), true), connectTimeout)
    const ws = new WebSocket(_c._url.href.replace(/^http/, 'ws'), subprotocol)
    this._ws = ws
    ws.binaryType = 'arraybuffer'
    ws.onopen = () => {
      if (ws.protocol !== subprotocol) this._end(new CarillonError('protocol', `the server does not speak ${subprotocol}`))
      else ws.send(encode([Type.Connect, 1, token || null], { client: name.slice(0, 64) || undefined }))
    }
    ws.onmessage = ({ data }) => {
      this._heard = _c._clock.now()
      this._frames.push(typeof data === 'string' ? { _error: new CarillonError('protocol', 'found a text message') } : new Uint8Array(data))
      void this._handle()
    }
    ws.onerror = () => {} // the close event follows
    ws.onclose = ({ code, reason }) => {
      const known = code > 3999 && code < 5000
      this._frames.push({ _error: known ? new Refusal(errorOf(code, nameOf(code, reason || `code_${code}`))) : lost(`closed with ${code} ${reason}`) })
      void this._handle()
    }
    _c._cut = (error) => this._end(error)
  }

  /** _handle takes what has come, one message after the other. */
  private async _handle(): Promise<void> {
    if (this._handling) return
    this._handling = true
    try {
      for (let f; !this._over && (f = this._frames.shift()); ) {
        if (!(f instanceof Uint8Array)) throw f._error
        const slow = this._receive(f)
        if (slow) await slow
      }
    } catch (error) {
      this._end(error instanceof CarillonError && error.number ? new CarillonError('protocol', error.message) : error)
    }
    this._handling = false
  }

  private _receive(message: Uint8Array): Promise<unknown> | undefined {
    if (this._greeted) return this._session._receive(message)
    const packets = readPackets(message)
    this._greet(packets.next().value)
    return this._session._handle(packets)
  }

  private _greet(p: Packet | null | undefined | void): void {
    if (p?.is === Type.Disconnect || p?.is === Type.Error) throw new Refusal(errorOf(p.code, p.name, p.detail, p.hint, p.is === Type.Error ? p.retry_after : p.after), p.is === Type.Error ? undefined : p.reconnect)
    if (p?.is !== Type.Connected) throw new CarillonError('protocol', 'the first packet is not Connected')
    this._greeted = true
    this._c._clock.clearTimeout(this._watch)
    this._silence = this._c._options.maxSilence ?? (p.ping && p.ping + pongGrace)
    if (this._silence) this._listen()
    this._session._begin(p)
  }

  /** _listen takes the connection for dead when nothing has come for too long ([PNG-4]). */
  private _listen(): void {
    const { _clock: clock } = this._c
    const left = this._heard + this._silence - clock.now()
    if (left <= 0) this._end(lost('nothing came from the broker for too long'), true)
    else this._watch = clock.setTimeout(() => this._listen(), left)
  }

  /** _write writes, soon and all at once, what there is to write. */
  private _write(): void {
    if (this._writing) return
    this._writing = true
    queueMicrotask(() => {
      this._writing = false
      for (let b; !this._over && (b = this._session._fill()); ) this._ws.send(b as Uint8Array<ArrayBuffer>)
    })
  }

  private _end(error: unknown, abort = false): void {
    if (this._over) return
    this._over = true
    this._c._clock.clearTimeout(this._watch)
    const ws = this._ws as WebSocket & { terminate?: () => void }
    if (abort && ws.terminate) ws.terminate()
    else ws.close()
    if (this._greeted) this._session._detach(error)
    this._ended(error)
  }
}

function lost(detail: string): CarillonError {
  return new CarillonError('connection', detail)
}
