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

  /** _emit calls the listeners. It returns undefined if there are none, and a promise when some returned promises. */
  _emit<K extends keyof Events>(event: K, value: Events[K]): Promise<unknown> | boolean | undefined {
    let called: Promise<unknown> | boolean | undefined
    for (const { _event, _listener } of this._listeners) {
      if (_event !== event) continue
      try {
        const result = (_listener as (value: Events[K]) => unknown)(value)
        called = result instanceof Promise ? Promise.all([called, result.catch(report)]) : (called ?? true)
      } catch (error) {
        report(error)
      }
    }
    return called
  }
}
