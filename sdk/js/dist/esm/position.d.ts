/** Position is a point in the log and in the store ([POS-2]). Applications see it as a cursor, which is opaque to them. */
export interface Position {
    /** The run of the broker that seq counts in: 8 bytes, as characters. */
    readonly epoch: string;
    readonly seq: number;
    /** What offset counts in: 8 bytes, as characters, all 0 for none. */
    readonly term: string;
    readonly offset: number;
}
/** none is the epoch, or the term, of a position that has none. */
export declare const none: string;
/** parsePosition reads a token; anything but the one token of a position is `bad_position` ([POS-3]). */
export declare function parsePosition(token: Uint8Array): Position;
/** tokenOf is the position as the protocol writes it. */
export declare function tokenOf(p: Position): Uint8Array;
/** cursorOf is the position as text ([POS-4]); '' for none. */
export declare function cursorOf(p: Position | undefined): string;
/** parseCursor is the reverse of cursorOf. */
export declare function parseCursor(cursor: string): Position;
/** bytes are the characters up to ff as bytes. */
export declare function bytes(text: string): Uint8Array;
