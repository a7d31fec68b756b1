"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.unescapeLevel = exports.match = exports.escapeLevel = exports.covers = exports.CarillonError = void 0;
exports.connect = connect;
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
 * be written is taken by Session._fill: requests first, then the publishes (publish.ts), as many as fit into one WebSocket message.
 */
const client_js_1 = require("./client.js");
var errors_js_1 = require("./errors.js");
Object.defineProperty(exports, "CarillonError", { enumerable: true, get: function () { return errors_js_1.CarillonError; } });
var topic_js_1 = require("./topic.js");
Object.defineProperty(exports, "covers", { enumerable: true, get: function () { return topic_js_1.covers; } });
Object.defineProperty(exports, "escapeLevel", { enumerable: true, get: function () { return topic_js_1.escapeLevel; } });
Object.defineProperty(exports, "match", { enumerable: true, get: function () { return topic_js_1.match; } });
Object.defineProperty(exports, "unescapeLevel", { enumerable: true, get: function () { return topic_js_1.unescapeLevel; } });
/** connect makes a client of the broker at url, which connects by itself: ws, wss, http or https, or in a page a path. */
function connect(url, options = {}) {
    return new client_js_1.ClientImpl(url, options);
}
