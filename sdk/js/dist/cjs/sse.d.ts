/** One event of a stream of server-sent events. */
export interface ServerEvent {
    _event: string;
    _data: string;
    _id: string;
}
/** readEvents reads a stream of server-sent events, of the fields event, data and id. It calls heard whenever something has come. */
export declare function readEvents(body: ReadableStream<Uint8Array>, heard: () => void): AsyncGenerator<ServerEvent>;
