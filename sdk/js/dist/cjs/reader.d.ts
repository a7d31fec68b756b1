/** Pairs is a map as it came: key, value, key, value. What it may hold is for whoever reads it to say. */
export declare class Pairs {
    readonly _items: readonly unknown[];
    constructor(_items: readonly unknown[]);
}
/**
 * Reader reads MessagePack from bytes that cannot be trusted. Every declared length is checked against the bytes that are there
 * before anything is made of it, depth is bounded, str is valid UTF-8. Anything else throws `bad_packet`.
 *
 * For packets it also holds to the limits of [ENC-6] and [ENC-7], gives maps as Pairs, and NaN for numbers that no field may
 * have ([ENC-3]). For payloads, with plain set, it makes objects, dates of timestamps and {type, data} of other extension types,
 * and bigints of integers that no number holds exactly; sizes are bounded by the bytes alone.
 */
export declare class Reader {
    private readonly _bytes;
    private readonly _plain;
    _at: number;
    private readonly _view;
    constructor(_bytes: Uint8Array, _plain?: boolean, at?: number);
    /** _value reads one value, inside depth arrays and maps. */
    _value(depth?: number): unknown;
    private _skip;
    private _take;
    /** _uint reads an unsigned number of 1, 2 or 4 bytes. */
    private _uint;
    /** _long is a number of 64 bits: exact as a bigint where a number is not. */
    private _long;
    private _str;
    private _extension;
    private _values;
    private _array;
    private _map;
}
export declare function fail(detail: string): never;
