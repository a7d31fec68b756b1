import type { ClientImpl, Link } from './client.js';
import { CarillonError } from './errors.js';
import { Inbox } from './inbox.js';
import type { Event, Gap, Live, Message, Snapshot } from './message.js';
import type { SubscribeOptions } from './options.js';
import { type Position } from './position.js';
import { Stream } from './stream.js';
/** What a subscription tells its listeners, in the order of the stream. */
export interface SubscriptionEvents {
    message: Message;
    gap: Gap;
    snapshot: Snapshot;
    live: Live;
    /** What ended it, if not the application itself. An iteration throws it instead. */
    error: CarillonError;
}
/**
 * Subscription is a stream of the messages that match a filter. It outlives connections: after a reconnect it goes on from where
 * it was.
 *
 * It is read in one of two ways: by iterating it, or by a listener for `message` (or the callback given to subscribe). Listeners for
 * the other events are called at their place in the stream, when the reader comes there, which waits for the promises they return. What is not read yet waits in a bounded
 * buffer; when the application is so slow that it is full, the subscription leaves the live stream and resumes from its position
 * later. Only the snapshot of retained values is held whole, however large it is.
 */
export interface Subscription extends AsyncIterable<Message> {
    readonly filter: string;
    /** Resolves when the broker has confirmed it: from then on nothing that is published is missed. Rejects with what ended it before. */
    readonly ready: Promise<void>;
    /** Calls listener at every such event. It returns what takes the listener away. */
    on<K extends keyof SubscriptionEvents>(event: K, listener: (value: SubscriptionEvents[K]) => unknown): () => void;
    /** Iterates like the subscription itself over everything that happens in the stream: messages, gaps, ends of snapshots, live. */
    events(): AsyncIterableIterator<Event>;
    /** Ends the subscription at once. An iteration that is under way ends. */
    close(): void;
}
/** promise returns a promise and what settles it; it may be rejected without anybody to look. */
export declare function promise(): [Promise<void>, (error?: unknown) => void];
/** What waits for a slow application; nothing if there is nothing to wait for. */
export type Slow = Promise<unknown> | undefined;
/** allOf waits for all of them. */
export declare function allOf(slow: readonly Slow[]): Slow;
export declare class Sub extends Stream implements Subscription {
    private readonly _client;
    readonly ready: Promise<void>;
    readonly _in: Inbox;
    private readonly _listeners;
    private _read;
    /** _confirm lets ready go. */
    readonly _confirm: (error?: unknown) => void;
    constructor(_client: ClientImpl, filter: string, options: SubscribeOptions);
    on<K extends keyof SubscriptionEvents>(event: K, listener: (value: SubscriptionEvents[K]) => unknown): () => void;
    [Symbol.asyncIterator](): AsyncIterableIterator<Message>;
    events(): AsyncIterableIterator<Event>;
    close(): void;
    /** _end ends the stream behind what the inbox still holds, or at once if drop is set. */
    _end(error?: unknown, drop?: boolean): void;
    /**
     * _accept puts e into the inbox, then calls taken. It waits for room if there is none. A subscription that gets none leaves the
     * stream, served up to the position at, and gets e when it resumes.
     */
    _accept(link: Link, e: Event, at: Position | undefined, taken?: () => void, size?: number): Slow;
    /** _force puts e into the inbox whatever room there is. */
    _force(e: Event | undefined, size?: number): void;
    /** _drain reads the stream for the listeners. */
    private _drain;
}
