import { lost } from './errors.js'
import { inTime } from './intime.js'
import type { Clock, Options } from './options.js'
import { text } from './topic.js'

/** Tokens keeps the token of the last connection and asks for a new one when it is needed. */
export interface Tokens {
  /** The token for the next connection, '' for none. */
  _next(): Promise<string>
  /**
   * Notes when the broker takes the token to expire, in milliseconds since the Unix epoch, if it does, and which one that is, if it
   * has come to the session since. Before that, until _stop, it asks for a fresh one ([REF-6]) and hands it to take.
   */
  _accepted(expires: number | undefined, take: (token: string) => unknown, token?: string): void
  _stop(): void
  /** Asks for a new token before the next connection, because of reason. It says whether there can be one. */
  _renew(reason: string): boolean
}

export function newTokens(source: Options['token'], clock: Clock, signal: AbortSignal): Tokens {
  let current = ''
  let expires = NaN // unless the broker has said when
  let why = 'connect' // a new one is needed; '' if the current one will do
  let timer: unknown
  let serving: unknown
  const ask = async (reason: string) => {
    try {
      return text(await inTime(clock, 10_000, (async () => (source as Extract<typeof source, Function>)({ reason, signal }))()))
    } catch (cause) {
      throw lost(`token: ${cause}`, cause)
    }
  }
  const fixed = typeof source !== 'function'
  return {
    async _next() {
      if (fixed) return source ?? ''
      const reason = why || (clock._date() >= expires && 'expired')
      if (reason) {
        current = await ask(reason)
        expires = NaN
        why = ''
      }
      return current
    },
    _accepted(at, take, token = current) {
      current = token
      expires = at || NaN
      serving = take
      const wait = () => {
        // a clock by which one has expired that the broker takes is wrong, and tells nothing
        const left = expires - clock._date()
        if (left > 0 && !fixed && serving === take) timer = clock._setTimeout(() => ask('expiring').then(take, wait), Math.max(5_000, Math.min(left * 0.8, left - 10_000)))
      }
      wait()
    },
    _stop() {
      serving = clock._clearTimeout(timer)
    },
    _renew(reason) {
      why = reason
      return !fixed
    },
  }
}
