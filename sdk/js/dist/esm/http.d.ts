/**
 * The client with a fallback over HTTP, for networks that let no WebSocket through: server-sent events, then long-poll, with publishes
 * by POST. Everything else is what `@carillon/client` is.
 */
import { type Client } from './client.js';
import type { Options } from './options.js';
export * from './index.js';
/** connect is that of `@carillon/client`, with a fallback over HTTP unless `fallback` is false. */
export declare function connect(url: string | URL, options?: Options): Client;
