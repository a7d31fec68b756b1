/** Emitter calls listeners, none of which can hurt another one. */
export declare class Emitter<Events> {
    private _listeners;
    /** _add takes a listener in, and returns what takes it away. */
    _add<K extends keyof Events>(event: K, listener: (value: Events[K]) => unknown): () => void;
    /** _emit calls the listeners. It returns undefined if there are none, and a promise when some returned promises. */
    _emit<K extends keyof Events>(event: K, value: Events[K]): Promise<unknown> | boolean | undefined;
}
