import { type ClientImpl, type Link } from './client.js';
import { CarillonError } from './errors.js';
import { type Connected } from './packets.js';
import { type Slow, Sub } from './subscription.js';
/** Session is a session of the broker over WebSocket: it writes requests, and hands out what comes. */
export declare class Session implements Link {
    private readonly _c;
    readonly _wake: () => void;
    private readonly _began;
    private readonly _control;
    private readonly _requests;
    /** Refused for now; again after _laterAt. */
    private readonly _later;
    private _laterAt;
    private _retry;
    private readonly _inflight;
    private readonly _byId;
    /** Live, but with a position of their own still. */
    private _joining;
    /** What remains of a Replay: so many messages for the subscription that has this id, if it still has. */
    private _replay;
    private _maxMessage;
    private _maxInflight;
    constructor(_c: ClientImpl, _wake: () => void, _began: (hello: Connected) => void);
    /** _begin asks again for what is subscribed, and lets go what waits. */
    private _begin;
    /** _detach ends it: what is in flight has an unknown outcome. */
    _detach(cause: unknown): void;
    /** _fill is the next message to write: answers to pings, then requests, then publishes, as many as fit. */
    _fill(): Uint8Array | undefined;
    _join(): void;
    _leave(s: Sub): void;
    /** _ask queues a Subscribe for every subscription that is idle and may be asked for now, and what was put off till now. */
    private _ask;
    /** _receive takes the packets of one message, in order; of types that a later version may add, none. */
    _receive(message: Uint8Array): Slow;
    private _handle;
    private _dispatch;
    /** _serving is the subscription that has this id, if it is served. */
    private _serving;
    /** _answered takes the request of that id out of flight, which may let another one go. */
    private _answered;
    private _subscribed;
    /** _goLive lets plain messages come to s. */
    private _goLive;
    /**
     * _share lets live subscriptions share the session's position once it has reached their own ([POS-7]). Of two offsets of the same
     * term the session's is the higher one then, since nothing up to there is missing; a session without a term takes theirs.
     */
    private _share;
    /** _gap tells a subscription, or all live ones, what is missing. One that has no room for it leaves; it is told when it resumes. */
    private _gap;
    private _tellGap;
    /** _message hands a message to the subscriptions it is for: the one of the Replay it is in, or all live ones that match. */
    private _message;
    /** _replayed hands a message of a Replay to its subscription. Those of a snapshot are held whatever room there is: from the middle of it nothing can be resumed. */
    private _replayed;
    /** _refused takes an Error: the answer to a request, or the end of a subscription. */
    private _refused;
    /** _refuse ends a subscription with an error, or asks for it again later if that may help. */
    private _refuse;
}
/** errorOf is an error as the broker says it. */
export declare function errorOf(number: number, name: string, detail?: string, hint?: string, retryAfter?: number): CarillonError;
