/** encodePayload turns the value given to publish into a payload and its content type; that of msgpack is not written. */
export declare function encodePayload(value: unknown, contentType?: string): readonly [payload: Uint8Array, contentType: string];
/** decodePayload is what a payload says by its content type: bytes of any other type are handed out as they are, and an empty one as undefined. */
export declare function decodePayload(payload: Uint8Array, contentType: string): unknown;
