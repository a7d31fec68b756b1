/** How long a connection has to last before its loss starts the backoff from the beginning, in milliseconds. */
export declare const stableAfter = 5000;
/** Backoff is exponential with full jitter: the n-th delay is uniform in [0, min(cap, base * 2^n)) ([REC-1]). */
export declare class Backoff {
    private readonly _base;
    private readonly _cap;
    private readonly _random;
    _attempt: number;
    constructor(_base: number, _cap: number, _random: () => number);
    /** _next is the delay before the next attempt, in milliseconds. */
    _next(): number;
}
