import type { Clock } from './options.js';
import type { Event } from './message.js';
export declare const enum Offer {
    Taken = 0,
    /** Full: try again after wait. */
    Wait = 1,
    Parked = 2
}
/**
 * Inbox holds what has come for a subscription until the application takes it. It is bounded: when something does not fit, the
 * subscription is parked, which means that it leaves the stream and comes back, at its position, once the application has
 * caught up. What the broker's log holds is then the buffer, and no other subscription waits.
 */
export declare class Inbox {
    private readonly _maxCount;
    private readonly _maxBytes;
    private readonly _clock;
    _parked: boolean;
    /** Set at the end: with the error that ended it, or none. */
    _over: {
        _error?: unknown;
    } | undefined;
    private _events;
    private _head;
    private _bytes;
    private _patience;
    private _takers;
    private _wakeGiver;
    constructor(_maxCount: number, _maxBytes: number, _clock: Clock);
    private get _left();
    /** _offer adds e, of about so many bytes, if there is room, or if force is set. What comes after the end is swallowed. */
    _offer(e: Event, size?: number, force?: boolean): Offer;
    /** _wait waits until something has been taken, the inbox is over, or the patience is at its end. */
    _wait(): Promise<void>;
    /** _take waits for the next event; undefined or a throw is the end. */
    _take(): Promise<Event | undefined>;
    /** _unpark says, once, that the application has caught up after the subscription was parked. */
    _unpark(): boolean;
    /** _finish ends the inbox, behind what it holds, or at once if drop is set. */
    _finish(over: {
        _error?: unknown;
    }, drop: boolean): void;
    private _wakeTakers;
    private _emptier;
}
