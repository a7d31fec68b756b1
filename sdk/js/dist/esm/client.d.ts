import { CarillonError } from './errors.js';
import { type Clock, type Options, type PublishOptions, type SubscribeOptions, type Transport } from './options.js';
import type { Message } from './message.js';
import type { Position } from './position.js';
import { type Ack, Publishing } from './publish.js';
import { Sub, type Subscription } from './subscription.js';
import { type Tokens } from './tokens.js';
/** A client's state and what led to it. */
export interface Status {
    /** `closed` is for good: by close, or by a refusal that makes reconnecting useless. */
    readonly state: 'connecting' | 'connected' | 'reconnecting' | 'closed';
    /** When connected: the session's name, who the broker takes the client for, and how it is reached. */
    readonly session?: string | undefined;
    readonly user?: string | undefined;
    readonly transport?: Transport | undefined;
    /** When reconnecting: why. When closed: the refusal, absent after close. */
    readonly error?: CarillonError | undefined;
    /** When reconnecting: milliseconds from the change to the next attempt. */
    readonly retryIn?: number | undefined;
}
/**
 * Client is a connection to a broker that is made again when it is lost, for ever, until a code of the broker says that it is of no
 * use. It never runs the application's code where it reads, and it never drops a message silently.
 */
export interface Client {
    readonly status: Status;
    /** How the broker is reached at present. */
    readonly transport: Transport | undefined;
    /** Milliseconds from the last publish that was acknowledged to its acknowledgement. */
    readonly latency: number | undefined;
    /** The limits of the session that the broker has announced, by name. */
    readonly limits: Readonly<Record<string, number>>;
    /** Resolves with the first connection. Rejects when the client ends before. */
    readonly ready: Promise<void>;
    /** Calls listener at every change of the status. It returns what takes the listener away. */
    on(event: 'status', listener: (status: Status) => unknown): () => void;
    /** Subscribes to a filter. What goes wrong is told by the subscription. */
    subscribe(filter: string, options?: SubscribeOptions): Subscription;
    subscribe(filter: string, listener: (message: Message) => unknown, options?: SubscribeOptions): Subscription;
    /**
     * Publishes data to topic and resolves with the acknowledgement. Bytes are sent as they are, anything else as MessagePack unless
     * `contentType` says otherwise. Publishes are applied in the order of the calls. While there is no connection they wait for the
     * next one; `queue_full` says that too many do. If the connection is lost between sending and acknowledgement the error is
     * `unknown_outcome`: it is not sent again by itself.
     */
    publish(topic: string, data: unknown, options?: PublishOptions): Promise<Ack>;
    /** Removes the retained value of topic. */
    clear(topic: string, options?: PublishOptions): Promise<Ack>;
    /**
     * Waits until every publish that was accepted is acknowledged, at most `timeout` milliseconds (5,000), then ends the connection and
     * the subscriptions.
     */
    close(options?: {
        timeout?: number;
    }): Promise<void>;
}
/** Link is a session on some transport, as the client drives it. */
export interface Link {
    /** _join asks for a subscription that is new, or may come back. */
    _join(s: Sub): void;
    /** _leave takes a subscription off the wire. */
    _leave(s: Sub): void;
    /** _wake says that there are publishes in the queue. */
    _wake(): void;
}
/** Serve makes a session and serves it until it ends; it throws why. */
export type Serve = (c: ClientImpl, token: string) => Promise<never>;
export declare class ClientImpl implements Client {
    readonly _options: Options;
    private readonly _way;
    readonly _clock: Clock;
    status: Status;
    latency: number | undefined;
    limits: Readonly<Record<string, number>>;
    readonly ready: Promise<void>;
    readonly _url: URL;
    readonly _tokens: Tokens;
    _subs: Sub[];
    _queue: Publishing[];
    /** The session's position. */
    _pos: Position | undefined;
    _link: Link | undefined;
    /** The last request id; never used twice. */
    _nextId: number;
    /** Ends the connection, or the attempt to make one, that is under way. */
    _cut: ((error: unknown) => void) | undefined;
    /** Aborted at the end. */
    readonly _stop: AbortController;
    private readonly _listeners;
    private readonly _first;
    private _unsettled;
    private _closing;
    private _flushed;
    /** When the present session began; undefined when there is none. */
    _since: number | undefined;
    /** Ends the pause before the next attempt. */
    private _goOn;
    constructor(url: string | URL, _options: Options, _way?: Serve, _clock?: Clock);
    get transport(): Transport | undefined;
    on(event: 'status', listener: (status: Status) => unknown): () => void;
    subscribe(filter: string, ...rest: unknown[]): Subscription;
    publish(topic: string, data: unknown, options?: PublishOptions): Promise<Ack>;
    clear(topic: string, options?: PublishOptions): Promise<Ack>;
    close({ timeout }?: {
        timeout?: number | undefined;
    }): Promise<void>;
    private _publish;
    /** _ended is set at the end, with the error that ended the client, or none. */
    _ended: {
        _error?: CarillonError | undefined;
    } | undefined;
    /** _run makes connections until the client is closed or one is refused for good. */
    private _run;
    private _serve;
    private _pause;
    /** _attached begins a session. */
    _attached(link: Link, at: Position | undefined, status: Omit<Status, 'state'>): void;
    /** _detached ends a session: the subscriptions keep their places. */
    _detached(): void;
    /** _join asks for a subscription that is new, or whose application has caught up. */
    _join(s: Sub): void;
    /** _drop ends a subscription on the wire. */
    _drop(s: Sub): void;
    /** _refuse ends a subscription with an error of the broker. */
    _refuse(s: Sub, error: CarillonError): void;
    /** _finish ends everything, with error or by the application's will. */
    _finish(error?: CarillonError): void;
    private _tell;
}
/** remove takes an item out of a list and says whether it was there. */
export declare function remove<T>(list: T[], item: T): boolean;
