"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.stableAfter = void 0;
exports.backoff = backoff;
/** How long a connection has to last before its loss starts the backoff from the beginning, in milliseconds. */
exports.stableAfter = 5_000;
/** backoff is exponential with full jitter: the delay before attempt n, from 0, is uniform in [0, min(cap, base * 2^n)) ([REC-1]). */
function backoff(n, { backoff: { base = 500, cap = 20_000 } = {} }, clock) {
    return clock.random() * Math.min(cap, base * 2 ** n);
}
