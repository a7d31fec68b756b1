import { lost } from './errors.js'
import { inTime } from './intime.js'
import type { Clock, Options } from './options.js'
import { text } from './topic.js'

/** Tokens keeps the token of the last connection and asks for a new one when it is needed. */
export interface Tokens {
  /** The token for the next connection, '' for none. */
  _next(signal: AbortSignal): Promise<string>
  /** Notes when the broker takes the token to expire, in milliseconds since the Unix epoch, if it does. */
  _accepted(expires: number | undefined): void
  /** Asks for a new token before the next connection, because of reason. It says whether there can be one. */
  _renew(reason: string): boolean
}

export function newTokens(source: Options['token'], clock: Clock): Tokens {
  let current = ''
  let expires = Infinity
  let why = 'connect' // a new one is needed; '' if the current one will do
  return {
    async _next(signal) {
      if (typeof source !== 'function') return source ?? ''
      const reason = why || (clock.date() >= expires && 'expired')
      if (reason) {
        try {
          current = await inTime(clock, 10_000, (async () => source({ reason, signal }))())
          text(current)
        } catch (cause) {
          throw lost(`no token: ${cause}`, cause)
        }
        expires = Infinity
        why = ''
      }
      return current
    },
    _accepted(at) {
      expires = at || Infinity
    },
    _renew(reason) {
      why = reason
      return typeof source === 'function'
    },
  }
}
