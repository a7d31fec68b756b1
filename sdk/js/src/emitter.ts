import { report } from './errors.js'
import { remove } from './list.js'

/** Emitter calls listeners, none of which can hurt another one. */
export class Emitter<Events> {
  private readonly _listeners: (readonly [event: keyof Events, listener: (value: never) => unknown])[] = []

  /** _add takes a listener in, and returns what takes it away. */
  _add<K extends keyof Events>(event: K, listener: (value: Events[K]) => unknown): () => void {
    const entry = [event, listener] as const
    this._listeners.push(entry)
    return () => void remove(this._listeners, entry)
  }

  /** _emit calls the listeners. It returns undefined if there are none, else what waits for the promises that they return. */
  _emit<K extends keyof Events>(event: K, value: Events[K]): Promise<unknown> | undefined {
    const called = this._listeners.filter((l) => l[0] === event).map(async ([, listener]) => (listener as (value: Events[K]) => unknown)(value))
    return called.length ? Promise.all(called.map((p) => p.catch(report))) : undefined
  }
}
