/** Position is a point in the log and in the store ([POS-2]). Applications see it as a cursor, which is opaque to them. */
export interface Position {
    /** The run of the broker that seq counts in: 16 hex digits. */
    readonly epoch: string;
    readonly seq: number;
    /** What offset counts in: 16 hex digits, all 0 for none. */
    readonly term: string;
    readonly offset: number;
}
/** parsePosition reads a token; anything but the one token of a position is `bad_position` ([POS-3]). */
export declare function parsePosition(b: Uint8Array): Position;
/** tokenOf is the position as the protocol writes it. */
export declare function tokenOf(p: Position): Uint8Array;
/** cursorOf is the position as text ([POS-4]). */
export declare function cursorOf(p: Position | undefined): string;
/** parseCursor is the reverse of cursorOf. */
export declare function parseCursor(text: string): Position;
export declare function fromBase64(text: string): Uint8Array;
