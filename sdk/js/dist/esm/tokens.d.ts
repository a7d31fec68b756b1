import type { Clock, Options } from './options.js';
/** Tokens keeps the token of the last connection and asks for a new one when it is needed. */
export declare class Tokens {
    private readonly _source;
    private readonly _clock;
    private _current;
    private _expires;
    /** Why a new one is needed; '' if the current one will do. */
    private _reason;
    constructor(_source: Options['token'], _clock: Clock);
    /** _next is the token for the next connection, '' for none. */
    _next(signal: AbortSignal): Promise<string>;
    /** _accepted notes when the broker takes the token to expire, in milliseconds since the Unix epoch, if it does. */
    _accepted(expires: number | undefined): void;
    /** _renew asks for a new token before the next connection, because of reason. It says whether there can be one. */
    _renew(reason: string): boolean;
}
