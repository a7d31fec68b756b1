/**
 * msgpack writes a value as MessagePack, everything in its shortest form ([ENC-10]): null and undefined, booleans, numbers, strings,
 * bytes (any ArrayBuffer or view of one), dates (as timestamps), arrays, Maps, and the own enumerable members of any other object, of
 * which those that are undefined are left out.
 */
export declare function msgpack(value: unknown): Uint8Array;
export declare function bytesOf(v: ArrayBuffer | ArrayBufferView): Uint8Array;
