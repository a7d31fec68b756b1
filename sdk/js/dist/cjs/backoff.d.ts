import type { Clock, Options } from './options.js';
/** How long a connection has to last before its loss starts the backoff from the beginning, in milliseconds. */
export declare const stableAfter = 5000;
/** backoff is exponential with full jitter: the delay before attempt n, from 0, is uniform in [0, min(cap, base * 2^n)) ([REC-1]). */
export declare function backoff(n: number, { backoff: { base, cap } }: Options, clock: Clock): number;
