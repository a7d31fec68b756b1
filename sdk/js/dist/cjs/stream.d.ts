import type { Gap, Live, Snapshot } from './message.js';
import { type GapPacket, type MessagePacket } from './packets.js';
import { type Position } from './position.js';
/** Where a subscription is on the wire ([SUB-5]). */
export declare const enum Phase {
    /** Not asked for: no connection, parked, or waiting to ask again. */
    Idle = 0,
    /** Subscribe is queued or sent. */
    Asked = 1,
    /** Subscribed; only what is addressed to it is for it. */
    Starting = 2,
    /** Plain messages are for it too. */
    Live = 3,
    Ended = 4
}
/** Stream is the wire side of a subscription: where it is, and what it takes. */
export declare class Stream {
    readonly filter: string;
    readonly _wantsRetained: boolean;
    _phase: Phase;
    /** Of the subscription in this session; 0 when idle or ended. */
    _id: number;
    /** Up to where it has been served, unless it shares the session's position; undefined: it starts afresh. */
    _own: Position | undefined;
    /** It is live and the session has reached its own position, which does not count any more ([POS-7]). */
    _shared: boolean;
    /** It waits for the end of a snapshot: when it is cut before that it starts afresh ([POS-8]). */
    _awaiting: boolean;
    /** Where it stood when it had to start afresh. */
    _restarted: Position | undefined;
    /** Over HTTP: what came up to that seq of the session's epoch has been delivered, when the stream was opened further back. */
    _skip: number;
    /** The application has been given something, and that before the snapshot under way began. */
    private _delivered;
    private _again;
    /** The highest seq delivered, and the epoch it counts in: nothing up to it is delivered again. */
    private _markEpoch;
    private _markSeq;
    _refusals: number;
    _notBefore: number;
    constructor(filter: string, _wantsRetained: boolean);
    /** _subscribe is the packet that asks for the stream from where it is. */
    _subscribe(id: number): Uint8Array;
    get _serving(): boolean;
    /** _subscribed begins the stream at a position. It says whether the stream is live at once, and returns a gap to tell. */
    _subscribed(at: Position, session: Position): {
        _live: boolean;
        _gap?: Gap | undefined;
    };
    _retainedEnd(reset: boolean, session: Position): Snapshot;
    /** _resumed takes the position at which the subscription goes live. */
    _resumed(at: Position): Live;
    /** _gapped moves the subscription over what is missing. After most gaps the retained messages are sent again ([GAP-4]). */
    _gapped(p: Pick<GapPacket, 'reason' | 'subscription' | 'to'>): void;
    _gap(reason: string, from: Position | undefined, to: Position, count?: number): Gap;
    /** _position is up to where the subscription has been served. */
    _position(session: Position | undefined): Position | undefined;
    /** _resumeAt is the position from which the application can go on: none while a snapshot is awaited. */
    _resumeAt(p: Position | undefined): Position | undefined;
    _cursor(session: Position): string;
    /**
     * _after is the subscription's own position after m, which came in a Replay ([POS-8]). While the position is of an earlier run
     * of the broker only its offset moves: seq counts in another epoch until Resumed. An offset is of the store's present term.
     */
    _after(m: MessagePacket, session: Position): Position;
    /** _repeated says whether m has been delivered before. */
    _repeated(m: MessagePacket, session: Position): boolean;
    /** _took notes that the application has been given something: of the session's epoch, with that seq. */
    _took(epoch: string, seq: number): void;
    private _mark;
    /** _idle takes the subscription off the wire and keeps its place, if it has one to resume from. */
    _idle(session: Position | undefined): void;
    /** _restart lets it start afresh, and tell a gap if something has come meanwhile. */
    _restart(): void;
}
