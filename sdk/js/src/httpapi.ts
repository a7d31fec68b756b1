import type { ClientImpl } from './client.js'
import { CarillonError, guess, lost, needsToken, Refusal } from './errors.js'
import { inTime } from './intime.js'
import type { FetchAnswer, FetchInit } from './options.js'
import type { Publishing } from './publish.js'

/** A message as the HTTP API writes it. */
export interface Wire {
  topic: string
  data?: unknown
  data_base64?: string
  content_type?: string
  headers?: Record<string, string>
  retain?: boolean
  retained?: boolean
  ts: number
  id?: string
}

export interface WireGap {
  reason: string
  count?: number
  from?: string
  to: string
}

export interface Answer {
  messages: Wire[]
  cursor: string
  gap?: WireGap
  reset?: string[]
}

export interface Problem {
  code?: string
  detail?: string
  hint?: string
  reconnect?: boolean
  retry_after_ms?: number
}

/** request makes one to a path of the HTTP API. It throws a Refusal, or that there is no connection. */
export async function request(c: ClientImpl, token: string, path: string, init: FetchInit): Promise<FetchAnswer> {
  const { fetch = globalThis.fetch, credentials = 'same-origin' } = c._options
  const headers = { ...init.headers, ...(token && { authorization: `Bearer ${token}` }) }
  let r
  try {
    r = await fetch(new URL(path, new URL('.', c._url)), { ...init, headers, credentials, cache: 'no-store' })
  } catch (cause) {
    const { message, cause: why } = cause as { message: string; cause?: Error }
    throw lost(why?.message || message, cause, guess)
  }
  if (r.ok) return r
  const after = Number(r.headers.get('retry-after')) * 1000 || undefined
  const problem = (await r.json().catch(() => ({}))) as Problem
  if (!problem.code) throw lost(`the server answered ${r.status}`)
  const again = r.status === 429 || r.status === 408 || (r.status > 499 && r.status !== 501)
  throw refusalOf(problem, again ? 4300 : r.status === 401 ? 4200 : 4400, after)
}

/** refusalOf is a refusal by HTTP, which tells the code by name; number is one with which a client does the same. */
export function refusalOf({ code = '', detail, hint, retry_after_ms }: Problem, number: number, after?: number): Refusal {
  return new Refusal(new CarillonError(code, detail, { hint, retryAfter: retry_after_ms ?? after, number: code.endsWith('_expired') ? 4100 : number }))
}

/** How long a publish waits for its acknowledgement, and before that for a free connection, in milliseconds. */
const patience = 15_000

/** post publishes p. Without an answer the session ends, and where a fresh token is needed, p waits for it. */
export async function post(c: ClientImpl, token: string, p: Publishing, signal: AbortSignal): Promise<void> {
  const { retain, receivers, headers, id } = p._options
  const end = c._cut // this session's
  p._sentAt = c._clock.now()
  let text = ''
  for (const b of p._payload) text += String.fromCharCode(b)
  const type = p._contentType || 'application/msgpack'
  const body = JSON.stringify({ topic: p._topic, data_base64: btoa(text), type, retain, receivers, headers, id })
  try {
    const r = request(c, token, 'v1/publish', { method: 'POST', body, headers: { 'content-type': 'application/json' }, signal })
    const ack = await inTime(c._clock, patience, r.then((r) => r.json()))
    p._settle({ receivers: undefined, duplicate: false, cursor: '', ...ack })
  } catch (error) {
    if (!(error instanceof Refusal)) {
      p._lost(error)
      end?.(error)
    } else if (needsToken(error._why)) {
      c._queue.unshift(p)
      end?.(error)
    } else p._fail(error._why)
  }
}
