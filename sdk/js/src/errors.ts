import type { Code } from './codes.js'

export type { Code }

/** What the client itself refuses or cannot know. */
export type ClientCode =
  /** The client, or the subscription, was closed by the application. */
  | 'closed'
  /** The publish was sent and its acknowledgement did not come: it may or may not have been applied. */
  | 'unknown_outcome'
  /** Nobody was there to hear a request. */
  | 'no_responder'
  /** `pendingLimit` publishes wait already. */
  | 'queue_full'
  /** No connection could be made, or it was lost. */
  | 'connection'
  /** What came is not what the protocol says. */
  | 'protocol'

/** Anything else about an error. */
export interface ErrorDetails {
  /** The code's number, or one of the same hundred; absent for one of the client's own. */
  number?: number | undefined
  hint?: string | undefined
  retryAfter?: number | undefined
  cause?: unknown
}

/** Every failure that the client reports. Match `code` alone, never the text. */
export class CarillonError extends Error {
  override readonly name = 'CarillonError'
  /** The code by name: one of the broker's table, one of a later broker's, or one of the client's own. */
  readonly code: Code | ClientCode | (string & {})
  /** What was found and what was wanted, for people. */
  readonly detail: string
  /** What to do about it, for people; may be empty. */
  readonly hint: string
  /** After how many milliseconds a repetition may succeed, if that is known. */
  readonly retryAfter: number | undefined
  /** Whether the same call may succeed later. After `unknown_outcome` it may apply a publish a second time. */
  readonly retryable: boolean
  readonly _number: number

  constructor(code: CarillonError['code'], detail = '', { number = 0, hint = '', retryAfter, cause }: ErrorDetails = {}) {
    super(detail ? `${code}: ${detail}` : code, cause ? { cause } : undefined)
    this.code = code
    this.detail = detail
    this.hint = hint
    this.retryAfter = retryAfter
    this._number = number
    this.retryable = number ? retryable(number) : /^(unk|que|con|no_)/.test(code)
  }
}

/** retryable says whether a code allows to try again, also one that is not in the table ([COD-1]). */
export function retryable(number: number): boolean {
  return /^4[013]..$/.test(number as never)
}

/** needsToken says whether a code asks for a fresh token first. */
export function needsToken(number: number): boolean {
  return /^41..$/.test(number as never)
}

/** lost says that there is no connection. */
export function lost(detail: string, cause?: unknown, hint?: string): CarillonError {
  return new CarillonError('connection', detail, { cause, hint })
}

/** closed says that the application has closed it. */
export function closed(): CarillonError {
  return new CarillonError('closed')
}

/** What may be the matter when nothing is known. */
export const guess = 'wrong URL or origins?'

/** refused is the number of the code with which the broker has refused a connection or ended it, or of one like it; 0 for any other failure. */
export function refused(error: unknown): number {
  return error instanceof CarillonError ? error._number : 0
}

/** report hands over what a callback of the application threw: it must not hurt anybody else. */
export function report(error: unknown): void {
  console.error('carillon:', error)
}
