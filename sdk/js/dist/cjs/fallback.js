"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.withFallback = withFallback;
const connection_js_1 = require("./connection.js");
const errors_js_1 = require("./errors.js");
const httpsession_js_1 = require("./httpsession.js");
/** How long one attempt by WebSocket may take where there is another way, in milliseconds. */
const patience = 4_000;
/** How long what worked is remembered before WebSocket is tried again at a reconnect, in milliseconds. */
const memory = 300_000;
/**
 * withFallback finds a way to the server at each attempt: WebSocket; where none can be had, a stream of server-sent events; and where
 * nothing of that comes through, long-poll. only names one way to be used alone.
 */
function withFallback(only) {
    let way = only ?? 'websocket';
    let since = 0;
    let worked = false; // by WebSocket, and how often it has failed since
    let failed = 0;
    return async (c, token) => {
        const { now } = c._clock;
        if (!only && now() - since > memory)
            way = 'websocket';
        if (way === 'websocket') {
            try {
                return await (0, connection_js_1.serveWebSocket)(c, token, only ? undefined : patience);
            }
            catch (error) {
                if (c._since !== undefined) {
                    worked = true;
                    failed = 0;
                }
                // a broker that is away for a moment is no reason to leave a way that works
                if (only || c._ended || c._since !== undefined || error instanceof errors_js_1.Refusal || (worked && ++failed < 3))
                    throw error;
            }
        }
        return new Promise((_, reject) => {
            const works = (found) => {
                if (found !== way)
                    since = now();
                way = found;
            };
            const session = new httpsession_js_1.HttpSession(c, token, way === 'poll' ? way : 'sse', !only, works);
            const end = (error) => {
                session._stop();
                reject(error ?? (0, errors_js_1.lost)('the session has ended'));
            };
            c._cut = end;
            session._run().catch(end);
        });
    };
}
