/** Emitter calls listeners, none of which can hurt another one. */
export declare class Emitter<Events> {
    private readonly _listeners;
    _add<K extends keyof Events>(event: K, listener: (value: Events[K]) => unknown): () => void;
    _has(event: keyof Events): boolean;
    /** _emit calls the listeners. When some return promises, it returns one for all of them. */
    _emit<K extends keyof Events>(event: K, value: Events[K]): Promise<unknown> | undefined;
}
