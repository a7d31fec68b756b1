/**
 * The client with a fallback over HTTP, for networks that let no WebSocket through: server-sent events, then long-poll, with publishes
 * by POST. Everything else is what `@carillon/client` is.
 */
import { type Client, ClientImpl } from './client.js'
import { withFallback } from './fallback.js'
import type { Options } from './options.js'

export * from './index.js'

/** connect is that of `@carillon/client`, with a fallback over HTTP unless `fallback` is false. */
export function connect(url: string | URL, options: Options = {}): Client {
  const { fallback = true, transport } = options
  if (transport && !/^(websocket|sse|poll)$/.test(transport)) throw new TypeError(transport)
  return new ClientImpl(url, options, fallback || transport ? withFallback(transport) : undefined)
}
