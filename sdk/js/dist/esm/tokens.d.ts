import type { Clock, Options } from './options.js';
/** Tokens keeps the token of the last connection and asks for a new one when it is needed. */
export interface Tokens {
    /** The token for the next connection, '' for none. */
    _next(signal: AbortSignal): Promise<string>;
    /** Notes when the broker takes the token to expire, in milliseconds since the Unix epoch, if it does. */
    _accepted(expires: number | undefined): void;
    /** Asks for a new token before the next connection, because of reason. It says whether there can be one. */
    _renew(reason: string): boolean;
}
export declare function newTokens(source: Options['token'], clock: Clock): Tokens;
