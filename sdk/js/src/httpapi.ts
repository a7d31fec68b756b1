import type { ClientImpl } from './client.js'
import { type CarillonError, guess, lost, needsToken, refused } from './errors.js'
import { Reading } from './history.js'
import { inTime } from './intime.js'
import { type Content, deliverable } from './message.js'
import type { FetchAnswer, FetchInit } from './options.js'
import type { ErrorPacket } from './packets.js'
import type { Pending } from './pending.js'
import { bytes, parseCursor } from './position.js'
import type { Publishing } from './publish.js'
import { errorOf } from './session.js'

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

interface Page {
  messages: Wire[]
  cursor: string
  more: boolean
  gap?: { reason: string }
}

export interface Problem {
  code?: string
  detail?: string
  hint?: string
  reconnect?: boolean
  retry_after_ms?: number
}

/** request makes one to a path of the HTTP API. It throws the broker's refusal, or that there is no connection. */
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
  if (!problem.code) throw lost(`HTTP ${r.status}`)
  const again = /^(408|429|5(?!01))/.test(r.status as never)
  throw refusalOf(problem, again ? 4300 : r.status === 401 ? 4200 : 4400, after)
}

/** refusalOf is a refusal by HTTP, which tells the code by name; number is one with which a client does the same. */
export function refusalOf({ code = '', detail, hint, retry_after_ms }: Problem, number: number, after?: number): CarillonError {
  return errorOf({ _name: code, _detail: detail, hint, retry_after: retry_after_ms ?? after } as Partial<ErrorPacket>, code.endsWith('_expired') ? 4100 : number)
}

/** contentOf is what a message carries. */
export function contentOf(m: Wire): Content {
  const { data_base64: base64 } = m
  return { ...m, type: m.content_type, payload: base64 === undefined ? base64 : bytes(atob(base64)) }
}

/** How long a request waits for its answer, and before that for a free connection, in milliseconds. */
const patience = 15_000

/** ask makes the request that p is. Without an answer the session ends; where a fresh token is needed, p waits for it. */
export async function ask(c: ClientImpl, token: string, p: Pending, signal: AbortSignal): Promise<void> {
  const end = c._cut // this session's
  const read = p._get?.()
  p._sentAt = c._clock._now()
  const [path, init] = read ? [read, {}] : publishOf(p as Publishing)
  try {
    const r = request(c, token, path, { ...init, signal })
    const answer = await inTime(c._clock, patience, r.then((r) => r.json()))
    if (p instanceof Reading) {
      const { messages, cursor, more, gap } = answer as Page
      p._settle({ messages: messages.map((m) => deliverable(contentOf(m), false, parseCursor(m.id as string))), cursor, more, gap: gap?.reason })
    } else p._settle({ receivers: undefined, duplicate: false, cursor: '', ...answer })
  } catch (error) {
    const why = refused(error)
    if (why && !needsToken(why)) return p._fail(error)
    if (why || read) c._queue.unshift(p)
    else p._end(error, true)
    end?.(error)
  }
}

function publishOf(p: Publishing): [path: string, init: FetchInit] {
  const { retain, receivers, headers, ttl } = p._options
  let text = ''
  for (const b of p._payload) text += String.fromCharCode(b)
  const type = p._contentType || 'application/msgpack'
  const body = JSON.stringify({ topic: p._topic, data_base64: btoa(text), type, retain, receivers, headers, id: p._mid, ttl: ttl && `${ttl}ms`, exclude: p._exclude })
  return ['v1/publish', { method: 'POST', body, headers: { 'content-type': 'application/json' } }]
}
