import { type Position } from './position.js';
/** The subprotocol of the WebSocket ([TRA-1]). */
export declare const subprotocol = "carillon.v1";
/** The types of packets that a client reads or writes. */
export declare const enum Type {
    Connect = 1,
    Connected = 2,
    Subscribe = 3,
    Subscribed = 4,
    Unsubscribe = 5,
    Unsubscribed = 6,
    Publish = 7,
    Published = 8,
    Message = 9,
    Replay = 10,
    RetainedEnd = 11,
    Resumed = 12,
    Gap = 13,
    Ping = 15,
    Pong = 16,
    Error = 23,
    Disconnect = 24
}
export interface Connected {
    readonly is: Type.Connected;
    readonly session: string;
    readonly position: Position;
    readonly ping: number;
    readonly user?: string;
    readonly expires?: number;
    readonly limits?: Readonly<Record<string, number>>;
}
export interface MessagePacket {
    readonly is: Type.Message;
    readonly seq: number;
    readonly offset: number;
    readonly topic: string;
    readonly payload: Uint8Array;
    readonly ts: number;
    readonly type?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly retain?: boolean;
}
export interface GapPacket {
    readonly is: Type.Gap;
    readonly subscription: number;
    readonly reason: string;
    readonly from: Position | null;
    readonly to: Position;
    readonly count?: number;
}
export interface Published {
    readonly is: Type.Published;
    readonly id: number;
    readonly seq: number;
    readonly offset: number;
    readonly durability: number;
    readonly receivers?: number;
    readonly duplicate?: boolean;
}
export interface ErrorPacket {
    readonly is: Type.Error;
    readonly id: number | null;
    readonly code: number;
    readonly name: string;
    readonly detail: string;
    readonly hint?: string;
    readonly retry_after?: number;
}
export interface Disconnect {
    readonly is: Type.Disconnect;
    readonly code: number;
    readonly name: string;
    readonly detail: string;
    readonly reconnect: boolean;
    readonly after?: number;
    readonly hint?: string;
}
/** A packet of the server, by the names of its fields and options. */
export type Packet = Connected | MessagePacket | GapPacket | Published | ErrorPacket | Disconnect | {
    readonly is: Type.Subscribed;
    readonly id: number;
    readonly position: Position;
} | {
    readonly is: Type.Unsubscribed;
    readonly id: number;
} | {
    readonly is: Type.Replay;
    readonly subscription: number;
    readonly count: number;
    readonly kind: number;
} | {
    readonly is: Type.RetainedEnd;
    readonly subscription: number;
    readonly reset?: boolean;
} | {
    readonly is: Type.Resumed;
    readonly subscription: number;
    readonly position: Position;
} | {
    readonly is: Type.Ping;
    readonly position: Position | null;
} | {
    readonly is: Type.Pong;
};
/**
 * What the fields of a packet are, then its options: name:kind. Kinds: i integer, d id from 1, c code, s str, p position, b payload,
 * f bool, l map of integers, h map of str; in upper case it may be nil.
 */
export declare const shapes: Record<number, string>;
/** readPackets reads the packets of one WebSocket message, one at a time, each when it is asked for ([TRA-3], [TRA-4]). null is one of a type that is not known. */
export declare function readPackets(b: Uint8Array): Generator<Packet | null>;
/** encode writes a packet: its type and fields, then its options, of which those that are undefined are absent ([ENC-10]). */
export declare function encode(fields: readonly unknown[], options?: Record<string, unknown>): Uint8Array;
