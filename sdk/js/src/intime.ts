import { lost } from './errors.js'
import type { Clock } from './options.js'

/** inTime is p, given up after so many milliseconds; what happens to it then is for the caller. */
export function inTime<T>(clock: Clock, ms: number, p: Promise<T>): Promise<T> {
  let timer: unknown
  const late = new Promise<never>((_, reject) => {
    timer = clock.setTimeout(() => reject(lost(`no answer within ${ms / 1000} s`)), ms)
  })
  return Promise.race([p, late]).finally(() => clock.clearTimeout(timer))
}
