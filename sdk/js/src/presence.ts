/**
 * Who is there, as users and not as connections ([PRE-4], [PRE-5]):
 *
 *     import { presence, watchPresence } from '@carillon/client/presence'
 *     const { count, users } = await presence(c, 'room.7')
 *     for await (const { count, users } of watchPresence(c, 'room.7')) show(count, users)
 *
 * To be there is an option of subscribe: `join`.
 */
import { backoff } from './backoff.js'
import type { Client, ClientImpl } from './client.js'
import type { CarillonError } from './errors.js'
import { pause, whenAborted } from './intime.js'
import type { Gap, Live, Message } from './message.js'
import { encode, Type } from './packets.js'
import { Pending } from './pending.js'
import { text } from './topic.js'

/** Who is there: users, each once, however many connections they have. */
export interface Members {
  readonly count: number
  /** Their names, sorted by their bytes; absent when there are more than 1,000. */
  readonly users?: readonly string[] | undefined
}

/** Options of presence. */
export interface PresenceOptions {
  /** Gives the question up when it is aborted. */
  signal?: AbortSignal | undefined
  /** The same after so many milliseconds. */
  timeout?: number | undefined
}

/** Asking is a question that is under way. If the connection is lost it is asked again. */
class Asking extends Pending<Members, PresenceOptions> {
  constructor(
    private readonly topic: string,
    options: PresenceOptions,
  ) {
    super(options)
    text(topic)
  }

  _packet(id: number): Uint8Array {
    return encode([Type.Presence, id, this.topic])
  }

  override _get(): string {
    return `v1/presence?filter=${encodeURIComponent(this.topic)}`
  }

  _answer(p: unknown): void {
    const { users, _count: count } = p as { users?: unknown; _count: number }
    this._settle({ count, users: names(users) })
  }
}

/** names is a list of users; undefined for anything else. */
function names(list: unknown): string[] | undefined {
  return Array.isArray(list) && list.every((u) => typeof u === 'string') ? list : undefined
}

/**
 * presence asks who is there in topic, which needs the right to presence on it. While there is no connection it waits for the next one. It rejects
 * with the broker's refusal.
 */
export async function presence(client: Client, topic: string, options: PresenceOptions = {}): Promise<Members> {
  const c = client as ClientImpl
  c._shapes[Type.Presences] ??= [{ _id: 'd', _count: 'i' }, { users: 'o' }]
  const { count, users } = await c._ask(new Asking(topic, options))
  return users ? { count, users } : { count }
}

/**
 * watchPresence iterates over who is there in topic: first as it is, then whenever it has changed, at most once a second. Each value is whole; what
 * was missed while the connection was lost is in the next one. It asks behind the beginning of the changes and applies them, and asks again whenever
 * one may have been missed. It throws the broker's refusal, or why the client ended; when signal is aborted it just ends.
 */
export async function* watchPresence(client: Client, topic: string, { signal }: Pick<PresenceOptions, 'signal'> = {}): AsyncGenerator<Members, void, undefined> {
  const s = client.subscribe(`$presence.${topic}`, { retained: false, signal })
  try {
    await s.ready
    let now = await insist(client as ClientImpl, topic, signal)
    yield now
    for await (const e of s.events()) {
      const next = changed(now, e as Message | Gap | Live) ?? (await insist(client as ClientImpl, topic, signal))
      if (next.count === now.count && String(next.users) === String(now.users)) continue
      yield (now = next)
    }
  } catch (error) {
    if (!signal?.aborted) throw error
  } finally {
    s.close()
  }
}

/** changed is who is there behind a change, undefined when that has to be asked for: it names nobody, or does not fit, or there was a gap. */
function changed({ users }: Members, e: Message | Gap | Live): Members | undefined {
  const { count, ...lists } = ((e as Message).data ?? {}) as { count?: number; joined?: unknown; left?: unknown }
  if ((count as number) > 1000) return { count: count as number }
  const joined = names(lists.joined)
  const left = names(lists.left)
  if (!users || !joined || !left) return
  const now = new Set(users)
  for (const u of left) now.delete(u)
  for (const u of joined) now.add(u)
  return now.size === count ? { count, users: [...now].sort(byBytes) } : undefined
}

/** byBytes is the order of the bytes of UTF-8, which is that of code points. */
function byBytes(a: string, b: string): number {
  const x = [...a]
  const y = [...b]
  const i = x.findIndex((c, i) => c !== y[i])
  return i < 0 ? x.length - y.length : ((x[i] as string).codePointAt(0) as number) - (y[i]?.codePointAt(0) ?? -1)
}

/** insist asks, and again when that was too soon behind other requests, or nobody could tell. */
async function insist(c: ClientImpl, topic: string, signal: AbortSignal | undefined): Promise<Members> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await presence(c, topic, { signal })
    } catch (error) {
      const { retryable, retryAfter = 0 } = error as CarillonError
      if (!retryable || signal?.aborted || c._ended) throw error
      await pause(c._clock, retryAfter + backoff(attempt, c), (end) => whenAborted(signal, end))
    }
  }
}
