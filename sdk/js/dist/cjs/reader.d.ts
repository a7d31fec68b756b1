/** utf8 refuses what is not UTF-8, and keeps everything else as it is. */
export declare const utf8: TextDecoder;
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
 * and the nearest number of an integer that none is exactly; sizes are bounded by the bytes alone.
 */
export declare class Reader {
    private readonly _bytes;
    private readonly _plain;
    _at: number;
    private readonly _view;
    constructor(_bytes: Uint8Array, _plain?: boolean);
    /** _value reads one value, inside depth arrays and maps. */
    _value(depth?: number): unknown;
    /** _skip goes over n bytes and says where they were. */
    private _skip;
    private _take;
    /** _uint reads an unsigned integer. */
    private _uint;
    private _float;
    private _integer;
    /** _long reads a signed integer of 8 bytes. */
    private _long;
    /** _extension reads one whose data has n bytes. */
    private _extension;
    private _values;
}
/** fail refuses bytes: what was found is not as it should be. */
export declare function fail(what: string): never;
