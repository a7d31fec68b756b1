import type { ClientImpl } from './client.js';
import { CarillonError } from './errors.js';
import { Inbox } from './inbox.js';
import type { Event, Gap, Live, Message, Snapshot } from './message.js';
import type { SubscribeOptions } from './options.js';
import { Stream } from './stream.js';
/** What a subscription tells its listeners, in the order of the stream. */
export interface SubscriptionEvents {
    message: Message;
    gap: Gap;
    snapshot: Snapshot;
    live: Live;
    /** What ended it, if not the application itself. */
    error: CarillonError;
}
/**
 * Subscription is a stream of the messages that match a filter. It outlives connections: after a reconnect it goes on from where
 * it was.
 *
 * It is read in one of two ways: by iterating it, or by a listener for `message` (or the callback given to subscribe). Listeners for
 * the other events are called at their place in the stream, when the reader comes there. What is not read yet waits in a bounded
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
export declare class Sub extends Stream implements Subscription {
    private readonly _client;
    readonly ready: Promise<void>;
    readonly _in: Inbox;
    private readonly _listeners;
    private _read;
    private _confirmed;
    constructor(_client: ClientImpl, filter: string, options: SubscribeOptions);
    on<K extends keyof SubscriptionEvents>(event: K, listener: (value: SubscriptionEvents[K]) => unknown): () => void;
    [Symbol.asyncIterator](): AsyncIterableIterator<Message>;
    events(): AsyncIterableIterator<Event>;
    close(): void;
    /** _end ends the stream behind what the inbox still holds, or at once if drop is set. */
    _end(error?: unknown, drop?: boolean): void;
    /** _confirm lets ready go. */
    _confirm(error?: unknown): void;
    private _tell;
    /** _drain reads the stream for the listeners, which may return promises to be waited for. */
    private _drain;
}
