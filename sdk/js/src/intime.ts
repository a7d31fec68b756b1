import { lost } from './errors.js'
import type { Clock } from './options.js'

/** inTime is p, given up after so many milliseconds; what happens to it then is for the caller. */
export function inTime<T>(clock: Clock, ms: number, p: Promise<T>): Promise<T> {
  let stop!: () => void
  const late = pause(clock, ms, (end) => (stop = end)).then(() => {
    throw lost('no answer in time')
  })
  return Promise.race([p, late]).finally(stop)
}

/** pause waits for so many milliseconds, or until what it gives is called. */
export function pause(clock: Clock, ms: number, give: (end: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock._setTimeout(resolve, ms)
    give(() => {
      clock._clearTimeout(timer)
      resolve()
    })
  })
}

/** whenAborted calls f when signal is aborted, at once if it is already, unless until has been aborted before. */
export function whenAborted(signal: AbortSignal | undefined, f: () => void, until?: AbortSignal): void {
  if (signal?.aborted) f()
  else signal?.addEventListener('abort', f, { once: true, signal: until as AbortSignal })
}
