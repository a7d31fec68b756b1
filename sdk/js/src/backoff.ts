/** How long a connection has to last before its loss starts the backoff from the beginning, in milliseconds. */
export const stableAfter = 5_000

/** Backoff is exponential with full jitter: the n-th delay is uniform in [0, min(cap, base * 2^n)) ([REC-1]). */
export class Backoff {
  _attempt = 0

  constructor(
    private readonly _base: number,
    private readonly _cap: number,
    private readonly _random: () => number,
  ) {}

  /** _next is the delay before the next attempt, in milliseconds. */
  _next(): number {
    return this._random() * Math.min(this._cap, this._base * 2 ** this._attempt++)
  }
}
