import { CarillonError } from './errors.js'

/** How long the application waits. */
export interface Waiting {
  signal?: AbortSignal | undefined
  /** In milliseconds; for ever if it is absent. */
  timeout?: number | undefined
}

/** Pending is a request of the application that is under way: it waits for a connection, is sent, and gets an answer. */
export abstract class Pending<T = any, Options extends Waiting = Waiting> {
  readonly _settled: Promise<T>
  _settle!: (answer: T) => void
  _fail!: (error: unknown) => void
  /** When it was sent first. */
  _sentAt = 0
  /** In which sessions it may be sent again, having been sent; undefined: in all. */
  _in: string | undefined
  /** It was sent again: an error is the answer to that alone. */
  _again?: boolean
  /** The application does not wait for it any more. */
  _over?: boolean

  constructor(readonly _options: Options) {
    this._settled = new Promise((resolve, reject) => {
      this._settle = resolve
      this._fail = reject
    })
  }

  /** _packet is the request with that id. */
  abstract _packet(id: number): Uint8Array

  /** _get is where the answer is over HTTP, for what only reads. */
  _get?(): string

  /** _answer takes the packet that answers it. */
  abstract _answer(p: unknown): void

  /** _end fails it because of error. If it may have been carried out, the outcome is unknown. */
  _end(error: unknown, maybe: unknown = this._in): void {
    this._fail(maybe ? new CarillonError('unknown_outcome', 'no answer in time', { cause: error }) : error)
  }
}
