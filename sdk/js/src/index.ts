/**
 * The client of a Carillon broker, over WebSocket. `@carillon/client/http` is the same with a fallback over HTTP.
 *
 *     const c = connect('wss://host/ws', { token: async ({ reason, signal }) => fetchToken(signal) })
 *     for await (const m of c.subscribe('orders.*')) render(m.topic, m.data)
 *     await c.publish('orders.42', order, { retain: true })
 *
 * How it works inside: ClientImpl (client.ts) makes a connection, waits until it ends, and comes back after the backoff. What a
 * Connection (connection.ts) reads goes through Session (session.ts), a table with one case a packet, which moves the wire side of
 * the subscriptions (stream.ts) and fills their inboxes (inbox.ts), from which the application reads (subscription.ts). What is to
 * be written is taken by Session._fill: subscribes first, then the publishes (publish.ts) and
 * the pages of history that are asked for (history.ts), as many as fit into one WebSocket message.
 */
import { type Client, ClientImpl } from './client.js'
import type { Options } from './options.js'

export type { Client, Status } from './client.js'
export { CarillonError, type ClientCode, type Code, type ErrorDetails } from './errors.js'
export type { HistoryPage } from './history.js'
export type { Event, Gap, Live, Message, Snapshot } from './message.js'
export type { Compression, Fetch, FetchAnswer, FetchInit, HistoryOptions, Options, PublishOptions, RequestOptions, SubscribeOptions, TokenRequest, Transport, WebSocketLike } from './options.js'
export type { Ack } from './publish.js'
export type { Subscription, SubscriptionEvents } from './subscription.js'
export { covers, escapeLevel, match, unescapeLevel } from './topic.js'

/** connect makes a client of the broker at url, which connects by itself: ws, wss, http or https, or in a page a path. */
export function connect(url: string | URL, options: Options = {}): Client {
  return new ClientImpl(url, options)
}
