import type { ClientImpl } from './client.js';
/** serveWebSocket makes a session over WebSocket and serves it until it ends; it throws why. */
export declare function serveWebSocket(c: ClientImpl, token: string, timeout?: number): Promise<never>;
