/** How long a connection has to last before its loss starts the backoff from the beginning, in milliseconds. */
export const stableAfter = 5_000;
/** Backoff is exponential with full jitter: the n-th delay is uniform in [0, min(cap, base * 2^n)) ([REC-1]). */
export class Backoff {
    constructor(_base, _cap, _random) {
        this._base = _base;
        this._cap = _cap;
        this._random = _random;
        this._attempt = 0;
    }
    /** _next is the delay before the next attempt, in milliseconds. */
    _next() {
        return this._random() * Math.min(this._cap, this._base * 2 ** this._attempt++);
    }
}
