import { report } from './errors.js'

type Listener = (value: never) => unknown

/** Emitter calls listeners, none of which can hurt another one. */
export class Emitter<Events> {
  private readonly _listeners = new Map<keyof Events, Set<Listener>>()

  _add<K extends keyof Events>(event: K, listener: (value: Events[K]) => unknown): () => void {
    let set = this._listeners.get(event)
    if (!set) this._listeners.set(event, (set = new Set()))
    set.add(listener)
    return () => void set.delete(listener)
  }

  _has(event: keyof Events): boolean {
    return !!this._listeners.get(event)?.size
  }

  /** _emit calls the listeners. When some return promises, it returns one for all of them. */
  _emit<K extends keyof Events>(event: K, value: Events[K]): Promise<unknown> | undefined {
    let slow: Promise<unknown>[] | undefined
    for (const listener of this._listeners.get(event) ?? []) {
      try {
        const r = (listener as (value: Events[K]) => unknown)(value)
        if (r instanceof Promise) (slow ??= []).push(r.catch(report))
      } catch (error) {
        report(error)
      }
    }
    return slow && Promise.all(slow)
  }
}
