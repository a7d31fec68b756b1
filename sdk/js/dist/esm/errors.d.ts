import { type Code } from './codes.js';
export type { Code };
/** What the client itself refuses or cannot know. */
export type ClientCode = 
/** The client, or the subscription, was closed by the application. */
'closed'
/** The publish was sent and its acknowledgement did not come: it may or may not have been applied. */
 | 'unknown_outcome'
/** `pendingLimit` publishes wait already. */
 | 'queue_full'
/** No connection could be made, or it was lost. */
 | 'connection'
/** What came is not what the protocol says. */
 | 'protocol';
/** Anything else about an error. */
export interface ErrorDetails {
    number?: number | undefined;
    hint?: string | undefined;
    retryAfter?: number | undefined;
    cause?: unknown;
}
/** Every failure that the client reports. Match `code` alone, never the text. */
export declare class CarillonError extends Error {
    readonly name = "CarillonError";
    /** The code by name: one of the broker's table, one of a later version, or one of the client's own. */
    readonly code: Code | ClientCode | (string & {});
    /** The code's number in the broker's table; 0 for one of the client's own. */
    readonly number: number;
    /** What was found and what was wanted, for people. */
    readonly detail: string;
    /** What to do about it, for people; may be empty. */
    readonly hint: string;
    /** After how many milliseconds a repetition may succeed, if that is known. */
    readonly retryAfter: number | undefined;
    constructor(code: CarillonError['code'], detail?: string, more?: ErrorDetails);
    /** Whether the same call may succeed later. After `unknown_outcome` it may apply a publish a second time. */
    get retryable(): boolean;
}
/** retryable says whether a code allows to try again, also one that is not in the table ([COD-1]). */
export declare function retryable(number: number): boolean;
/** needsToken says whether a code asks for a fresh token first. */
export declare function needsToken(number: number): boolean;
/** nameOf is the name of a code, or what it is called otherwise. */
export declare function nameOf(number: number, otherwise: string): string;
/** Refusal ends a connection, or the attempt to make one, with an answer of the broker. */
export declare class Refusal {
    readonly _why: CarillonError;
    readonly _reconnect: boolean;
    constructor(_why: CarillonError, _reconnect?: boolean);
}
/** report hands over what a callback of the application threw: it must not hurt anybody else. */
export declare function report(error: unknown): void;
