/** msgpack is the value as MessagePack. */
export declare function msgpack(value: unknown): Uint8Array;
export declare function bytesOf(v: ArrayBuffer | ArrayBufferView): Uint8Array;
