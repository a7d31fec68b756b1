import type { Code } from './codes.js';
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
    /** The code's number, or one of the same hundred; absent for one of the client's own. */
    number?: number | undefined;
    hint?: string | undefined;
    retryAfter?: number | undefined;
    cause?: unknown;
}
/** Every failure that the client reports. Match `code` alone, never the text. */
export declare class CarillonError extends Error {
    readonly name = "CarillonError";
    /** The code by name: one of the broker's table, one of a later broker's, or one of the client's own. */
    readonly code: Code | ClientCode | (string & {});
    /** What was found and what was wanted, for people. */
    readonly detail: string;
    /** What to do about it, for people; may be empty. */
    readonly hint: string;
    /** After how many milliseconds a repetition may succeed, if that is known. */
    readonly retryAfter: number | undefined;
    /** Whether the same call may succeed later. After `unknown_outcome` it may apply a publish a second time. */
    readonly retryable: boolean;
    readonly _number: number;
    constructor(code: CarillonError['code'], detail?: string, { number, hint, retryAfter, cause }?: ErrorDetails);
}
/** retryable says whether a code allows to try again, also one that is not in the table ([COD-1]). */
export declare function retryable(number: number): boolean;
/** needsToken says whether a code asks for a fresh token first. */
export declare function needsToken({ _number }: CarillonError): boolean;
/** lost says that there is no connection. */
export declare function lost(detail: string, cause?: unknown): CarillonError;
/** Refusal ends a connection, or the attempt to make one, with an answer of the broker. */
export declare class Refusal {
    readonly _why: CarillonError;
    readonly _reconnect: boolean;
    constructor(_why: CarillonError, _reconnect?: boolean);
}
/** report hands over what a callback of the application threw: it must not hurt anybody else. */
export declare function report(error: unknown): void;
