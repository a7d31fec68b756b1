import type { PublishOptions } from './options.js';
import { type Published } from './packets.js';
import { type Position } from './position.js';
/** The broker's acknowledgement of a publish. */
export interface Ack {
    /** The message's place in this run of the broker; 0: the topic keeps no positions. */
    readonly seq: number;
    /** Its place in the store; 0: it was not committed there. */
    readonly offset: number;
    /** `appended`: in the broker's log in memory. `committed`: in the store. */
    readonly durability: 'appended' | 'committed';
    /** Live subscriptions it was handed to, if that was asked for and known in time. */
    readonly receivers: number | undefined;
    /** A publish with the same id had been applied before. */
    readonly duplicate: boolean;
    /** A position at or before the message, to subscribe from. */
    readonly cursor: string;
}
/** Publishing is a publish that is under way. */
export declare class Publishing {
    readonly _topic: string;
    readonly _options: PublishOptions;
    readonly _payload: Uint8Array;
    readonly _contentType: string;
    readonly _settled: Promise<Ack>;
    _settle: (ack: Ack) => void;
    _fail: (error: unknown) => void;
    /** The session's position when it was sent. */
    _base: Position | undefined;
    _sentAt: number;
    private readonly _headers;
    constructor(_topic: string, value: unknown, _options: PublishOptions);
    /** _packet is the request with that id. */
    _packet(id: number): Uint8Array;
    /** _published takes the acknowledgement. */
    _published(p: Published): void;
    /** _lost says that it was sent, and that no answer came. */
    _lost(cause?: unknown): void;
}
