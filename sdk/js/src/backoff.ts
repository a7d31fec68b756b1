import type { ClientImpl } from './client.js'

/** How long a connection has to last before its loss starts the backoff from the beginning, in milliseconds. */
export const stableAfter = 5_000

/** backoff is exponential with full jitter: the delay before attempt n, from 0, is uniform in [0, min(cap, base * 2^n)) ([REC-1]). */
export function backoff(n: number, { _options, _clock }: ClientImpl): number {
  const { base = 500, cap = 20_000 } = _options.backoff ?? {}
  return _clock._random() * Math.min(cap, base * 2 ** n)
}
