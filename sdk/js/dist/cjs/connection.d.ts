import type { Serve } from './client.js';
/** serveWebSocket makes a session over WebSocket and serves it until it ends. */
export declare const serveWebSocket: Serve;
