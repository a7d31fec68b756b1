import { report } from './errors.js'

/** Emitter calls listeners, none of which can hurt another one. */
export class Emitter<Events> {
  private _listeners: { _event: keyof Events; _listener: (value: never) => unknown }[] = []

  /** _add takes a listener in, and returns what takes it away. */
  _add<K extends keyof Events>(event: K, listener: (value: Events[K]) => unknown): () => void {
    const entry = { _event: event, _listener: listener }
    this._listeners.push(entry)
    return () => void (this._listeners = this._listeners.filter((other) => other !== entry))
  }

  /** _emit calls the listeners. It returns undefined if there are none, else what waits for the promises that they return. */
  _emit<K extends keyof Events>(event: K, value: Events[K]): Promise<unknown> | undefined {
    const called = this._listeners.filter(({ _event }) => _event === event).map(async ({ _listener }) => (_listener as (value: Events[K]) => unknown)(value))
    return called.length ? Promise.all(called.map((p) => p.catch(report))) : undefined
  }
}
