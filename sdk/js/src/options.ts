/** Why a token is wanted. */
export interface TokenRequest {
  /**
   * `connect` for the first one, `expiring` when that of the session ends soon, `expired` when the time of the last one is up, else
   * the broker's code by name.
   */
  reason: string
  /** Aborted when the client is closed. */
  signal: AbortSignal
}

/** How to reach the server. */
export type Transport = 'websocket' | 'sse' | 'poll'

/** What is used of a WebSocket: that of browsers, of Node, of the package `ws`. */
export interface WebSocketLike {
  binaryType: string
  readonly protocol: string
  onopen: ((event: any) => any) | null
  onmessage: ((event: any) => any) | null
  onerror: ((event: any) => any) | null
  onclose: ((event: any) => any) | null
  send(data: Uint8Array): void
  close(code?: number): void
  /** That of `ws` ends a connection at once. */
  terminate?(): void
}

/** What is used of fetch. */
export type Fetch = (url: URL, init: FetchInit) => Promise<FetchAnswer>

export interface FetchInit {
  method?: string
  headers?: Record<string, string>
  body?: string
  credentials?: 'include' | 'omit' | 'same-origin'
  cache?: 'no-store'
  signal?: AbortSignal
}

export interface FetchAnswer {
  readonly ok: boolean
  readonly status: number
  readonly headers: { get(name: string): string | null }
  readonly body: Body | null
  json(): Promise<any>
}

/** What is used of a stream of bytes. */
export interface Body {
  getReader(): { read(): Promise<{ done: boolean; value?: Uint8Array | undefined }> }
}

/** What takes compressed payloads: see `@carillon/client/compress`. It is called for every connection, and says what it is asked for by ([CON-12]). */
export type Compression = (client: never) => string

/** Options of connect. */
export interface Options {
  /**
   * A token, or what fetches one: called before the first connection and whenever a new one is needed, not on every reconnect. Over
   * WebSocket it is called before the token expires, and the session goes on with the fresh one. When it throws, the client tries
   * again later.
   */
  token?: string | ((request: TokenRequest) => string | Promise<string>) | undefined
  /** The constructor of WebSockets; needed where there is no global one, as in Node 20. */
  WebSocket?: (new (url: string, protocol: string) => WebSocketLike) | undefined
  /** What makes HTTP requests. Default: the global fetch. */
  fetch?: Fetch | undefined
  /** `include` sends cookies to another origin over HTTP. Default: `same-origin`. */
  credentials?: FetchInit['credentials'] | undefined
  /** Whether to go over HTTP where WebSocket is blocked. Default true, where that is loaded: see `@carillon/client/http`. */
  fallback?: boolean | 'auto' | undefined
  /** Use this transport alone. */
  transport?: Transport | undefined
  /** How many publishes may be unacknowledged, those that wait for a connection included; one more is refused. Default 1,024. */
  pendingLimit?: number | undefined
  /** What each subscription holds for the application. Default 4,096 messages and 4 MiB. */
  buffer?: { messages?: number | undefined; bytes?: number | undefined } | undefined
  /** Delays between attempts, in milliseconds: the n-th is random in [0, min(cap, base * 2^n)). Default 500 and 20,000. */
  backoff?: { base?: number | undefined; cap?: number | undefined } | undefined
  /** How long one attempt to connect may take, in milliseconds. Default 10,000; 4,000 where there is a fallback. */
  connectTimeout?: number | undefined
  /** How long nothing may come before the connection counts as dead, in milliseconds. Default: the broker's ping interval and 10 s. */
  maxSilence?: number | undefined
  /** What the broker's operators see of this client. Default `carillon-js`. */
  name?: string | undefined
  /** 1 to 64 bytes that name this client over all its connections ([CON-11]), so that `exclude` can leave it out. Default: random ones. */
  origin?: string | undefined
  /** Take compressed payloads where the broker has them: `deflate` of `@carillon/client/compress`. Over WebSocket. Default: none. */
  compress?: Compression | undefined
  /** Closes the client when it is aborted. */
  signal?: AbortSignal | undefined
}

/** Options of subscribe. */
export interface SubscribeOptions {
  /** Go on after this cursor: what came since is sent first, or a gap says what is missing. */
  since?: string | undefined
  /**
   * Begin with the newest so many messages that match, 1 to 1,024, instead of the retained values. It needs the right to history. Where
   * `since` is given, that counts.
   */
  last?: number | undefined
  /** When the subscription is behind, the broker sends the newest message of each topic alone. What it leaves out is no gap. */
  latest?: boolean | undefined
  /** At most so many messages a second, 1 to 1,000. Of those that wait, the newest of each topic is kept. */
  maxRate?: number | undefined
  /** false leaves out the snapshot of retained values. */
  retained?: boolean | undefined
  /** Makes the user a member of the topic, which the filter has to be ([PRE-1]). It needs the right to presence. Over WebSocket alone. */
  join?: boolean | undefined
  /** Ends the subscription when it is aborted. */
  signal?: AbortSignal | undefined
}

/** Options of history. */
export interface HistoryOptions {
  /** Begin behind this cursor. Default: with the oldest message that is kept. */
  after?: string | undefined
  /** At most so many messages, 1 to 1,024. Default 100. The broker may send fewer. */
  limit?: number | undefined
  /** The newest so many messages, 1 to 1,024; without `after`. */
  last?: number | undefined
  /** Takes the request back when it is aborted. */
  signal?: AbortSignal | undefined
}

/** Options of publish. */
export interface PublishOptions {
  /** The message becomes the topic's retained value. */
  retain?: boolean | undefined
  headers?: Readonly<Record<string, string>> | undefined
  /**
   * What the payload is. Default: none, which is MessagePack, and `application/octet-stream` for bytes. With a JSON or text type the
   * value is encoded so; any other type takes bytes.
   */
  contentType?: string | undefined
  /** Message id, 1 to 64 bytes, by which the broker recognizes a publish that is repeated. Default: a random one. */
  id?: string | undefined
  /** For how many milliseconds the message is worth something; then it is sent to nobody any more, and a retained value is removed ([PUB-13]). */
  ttl?: number | undefined
  /** true: do not send it to this client. Or the origin of another one, which needs the right to exclude. Retained values and histories are the same for all ([PUB-14]). */
  exclude?: string | boolean | undefined
  /** Ask for the number of live subscriptions it was handed to. */
  receivers?: boolean | undefined
  /** Takes the publish back when it is aborted, if it was not sent yet. */
  signal?: AbortSignal | undefined
  /** The same after so many milliseconds. */
  timeout?: number | undefined
}

/** Options of request. */
export interface RequestOptions extends Pick<PublishOptions, 'headers' | 'contentType' | 'ttl'> {
  /** How long the reply may take, in milliseconds. Default 10,000. */
  timeout?: number | undefined
  /** Gives it up. It may have been carried out all the same. */
  signal?: AbortSignal | undefined
}

/** What the client needs of its surroundings; tests bring their own. */
export interface Clock {
  /** Milliseconds of a clock that never goes back, and goes on while the machine sleeps. */
  _now(): number
  /** Milliseconds since the Unix epoch. */
  _date(): number
  _setTimeout(f: () => void, ms: number): unknown
  _clearTimeout(timer: unknown): void
  _random(): number
}

/** How far the time of day is ahead of the clock that nobody sets, which stands still in most machines that sleep: the most that was seen. */
let ahead = 0

export const systemClock: Clock = {
  _now: () => performance.now() + (ahead = Math.max(ahead, Date.now() - performance.now())),
  _date: Date.now,
  _setTimeout: (f, ms) => setTimeout(f, Math.min(ms, 2e9)), // more than 2^31 is none at all
  _clearTimeout: (timer) => clearTimeout(timer as never),
  _random: Math.random,
}
