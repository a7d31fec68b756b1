import type { ClientImpl, Serve } from './client.js'
import { serveWebSocket } from './connection.js'
import { refused } from './errors.js'
import { newHttpSession } from './httpsession.js'
import type { Transport } from './options.js'

/** How long one attempt by WebSocket may take where there is another way, in milliseconds. */
const patience = 4_000

/** How long what worked is remembered before WebSocket is tried again at a reconnect, in milliseconds. */
const memory = 300_000

/**
 * withFallback finds a way to the server at each attempt: WebSocket; where none can be had, a stream of server-sent events; and where
 * nothing of that comes through, long-poll. only names one way to be used alone.
 */
export function withFallback(only: Transport | undefined): Serve {
  let way = only ?? 'websocket'
  let since = 0
  let worked = false // by WebSocket, and how often it has failed since
  let failed = 0
  return async (c: ClientImpl, token: string) => {
    const { _now: now } = c._clock
    if (!only && now() - since > memory) way = 'websocket'
    if (way === 'websocket') {
      try {
        return await serveWebSocket(c, token, only ? undefined : patience)
      } catch (error) {
        if (c._since !== undefined) {
          worked = true
          failed = 0
        }
        // a broker that is away for a moment is no reason to leave a way that works
        if (only || c._ended || c._since !== undefined || refused(error) || (worked && ++failed < 3)) throw error
      }
    }
    return new Promise((_, reject) => {
      const works = (found: Transport) => {
        if (found !== way) since = now()
        way = found
      }
      const session = newHttpSession(c, token, way === 'poll' ? way : 'sse', !only, works)
      const end = (error: unknown) => {
        session._stop()
        reject(error)
      }
      session._run().catch((c._cut = end))
    })
  }
}
