import type { Serve } from './client.js';
import type { Transport } from './options.js';
/**
 * withFallback finds a way to the server at each attempt: WebSocket; where none can be had, a stream of server-sent events; and where
 * nothing of that comes through, long-poll. only names one way to be used alone.
 */
export declare function withFallback(only: Transport | undefined): Serve;
