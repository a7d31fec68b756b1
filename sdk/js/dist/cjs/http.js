"use strict";
var __createBinding = (this && this.__createBinding) || (Object.create ? (function(o, m, k, k2) {
    if (k2 === undefined) k2 = k;
    var desc = Object.getOwnPropertyDescriptor(m, k);
    if (!desc || ("get" in desc ? !m.__esModule : desc.writable || desc.configurable)) {
      desc = { enumerable: true, get: function() { return m[k]; } };
    }
    Object.defineProperty(o, k2, desc);
}) : (function(o, m, k, k2) {
    if (k2 === undefined) k2 = k;
    o[k2] = m[k];
}));
var __exportStar = (this && this.__exportStar) || function(m, exports) {
    for (var p in m) if (p !== "default" && !Object.prototype.hasOwnProperty.call(exports, p)) __createBinding(exports, m, p);
};
Object.defineProperty(exports, "__esModule", { value: true });
exports.connect = connect;
/**
 * The client with a fallback over HTTP, for networks that let no WebSocket through: server-sent events, then long-poll, with publishes
 * by POST. Everything else is what `@carillon/client` is.
 */
const client_js_1 = require("./client.js");
const fallback_js_1 = require("./fallback.js");
__exportStar(require("./index.js"), exports);
/** connect is that of `@carillon/client`, with a fallback over HTTP unless `fallback` is false. */
function connect(url, options = {}) {
    const { fallback = true, transport } = options;
    return new client_js_1.ClientImpl(url, options, fallback || transport ? (0, fallback_js_1.withFallback)(transport) : undefined);
}
