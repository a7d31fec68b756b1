import type { ClientImpl } from './client.js'
import { CarillonError, guess, lost } from './errors.js'
import type { WebSocketLike } from './options.js'
import { encode, readPackets, subprotocol, Type } from './packets.js'
import { errorOf, newSession } from './session.js'

/** How long a pong may take, in milliseconds. */
const pongGrace = 10_000

/** serveWebSocket makes a session over WebSocket and serves it until it ends; it throws why. */
export function serveWebSocket(c: ClientImpl, token: string, timeout = 10_000): Promise<never> {
  const { WebSocket = globalThis.WebSocket, connectTimeout = timeout, name = 'carillon-js', maxSilence, compress } = c._options
  const { _now: now, _setTimeout: setTimeout, _clearTimeout: clearTimeout } = c._clock
  return new Promise((_, reject) => {
    if (!WebSocket) throw new CarillonError('connection', 'give option WebSocket', { number: 4400 })
    const ws: WebSocketLike = new WebSocket(c._url.href.replace(/^http/, 'ws'), subprotocol)
    // what has come and is not handled yet; the last one may be the end
    const frames: (Uint8Array | CarillonError)[] = []
    let handling = false
    let writing = false
    let over = false
    let greeted = false
    let said = '' // by the event before the last one
    let heard = now()
    let watch = setTimeout(() => end(lost('no answer in time'), true), connectTimeout)

    const end = (error: unknown, abort = false) => {
      if (over) return
      over = true
      clearTimeout(watch)
      if (abort && ws.terminate) ws.terminate()
      else ws.close((error as CarillonError).code === 'closed' ? 1000 : undefined) // [DIS-3]
      if (greeted) session._detach()
      reject(error)
    }
    /** write writes, soon and all at once, what there is to write. */
    const write = () => {
      if (writing) return
      writing = true
      queueMicrotask(() => {
        writing = false
        for (let b; !over && (b = session._fill()); ) ws.send(b)
      })
    }
    /** listen takes the connection for dead when nothing has come for so long ([PNG-4]). */
    const listen = (silence: number) => {
      const left = heard + silence - now()
      if (left > 0) watch = setTimeout(() => listen(silence), left)
      else end(lost('silence'), true)
    }
    const session = newSession(c, write, ({ _ping: ping }) => {
      greeted = true
      clearTimeout(watch)
      const silence = maxSilence ?? (ping && ping + pongGrace)
      if (silence) listen(silence)
    })
    /** handle takes what has come, one message after the other. */
    const handle = async (frame: Uint8Array | CarillonError) => {
      frames.push(frame)
      if (handling) return
      handling = true
      try {
        for (let f; !over && (f = frames.shift()); ) {
          if (f instanceof CarillonError) throw f
          const slow = session._receive(readPackets(f))
          if (slow) await slow
        }
      } catch (error) {
        end(error)
      }
      handling = false
    }

    c._cut = end
    ws.binaryType = 'arraybuffer'
    ws.onopen = () => {
      if (ws.protocol === subprotocol) ws.send(encode([Type.Connect, 1, token || null], { client: name.slice(0, 64) || undefined, origin: c.origin, compress: compress?.(c as never) }))
      else end(new CarillonError('protocol', `no ${subprotocol}`))
    }
    ws.onmessage = ({ data }: { data: string | ArrayBuffer }) => {
      heard = now()
      void handle(typeof data === 'string' ? new CarillonError('protocol', 'text') : new Uint8Array(data))
    }
    ws.onerror = ({ message }: { message?: string } = {}) => void (said = message ?? '') // the close event follows
    ws.onclose = ({ code, reason }: { code: number; reason: string }) => {
      const known = code > 3999 && code < 5000
      void handle(known ? errorOf({ _code: code, _name: reason || `code_${code}` }) : lost(`closed with ${code}${(said = reason || said) && ': ' + said}`, undefined, greeted ? '' : guess))
    }
  })
}
