import { type ClientImpl, type Link } from './client.js';
import type { Transport } from './options.js';
import { type Sub } from './subscription.js';
/**
 * HttpSession serves the client over HTTP: one stream, or one poll after the other, for all subscriptions, opened again when these
 * change, and a request for each publish.
 *
 * There is one position for all of them. A subscription without one is started by a poll of its own, which answers with the
 * retained values and the position these are of; then the stream is opened at the lowest position of all, and the others skip what they
 * have had.
 */
export declare class HttpSession implements Link {
    private readonly _c;
    private readonly _token;
    private _way;
    private readonly _mayPoll;
    private readonly _works;
    /** Whom the stream, or the poll, under way is for. */
    private _members;
    private _request;
    private readonly _over;
    /** Who has been told that it is live, and has not left since. */
    private readonly _told;
    private _posting;
    /** It can be opened again without losing what is under way. */
    private _live;
    private _changed;
    private _poked;
    constructor(_c: ClientImpl, _token: string, _way: Transport, _mayPoll: boolean, _works: (way: Transport) => void);
    /** _run serves until something fails, or the session is stopped. */
    _run(): Promise<never>;
    /** _stop ends the session. */
    _stop(): void;
    _join(): void;
    _leave(s: Sub): void;
    _wake(): void;
    /** _poke opens the stream again, soon, with the subscriptions that there are then. It first lets come what was missed. */
    private _poke;
    /** _attach takes what is to be published, and says that the client is connected once it is known how. */
    private _attach;
    private _leaveAll;
    private _serve;
    /** _start begins subscriptions with the retained values, where the log is now. */
    private _start;
    /** _poll asks for what comes, again and again. */
    private _poll;
    private _ask;
    /** _answer takes the answer to a poll: what came before the gap, the gap, and what is sent again after it. */
    private _answer;
    /** _stream reads server-sent events. When nothing of them comes through, the next ones are polled. */
    private _stream;
    private _event;
    /** _caughtUp says that what comes next is live. */
    private _caughtUp;
    /** _moved takes the position up to which everything has come. */
    private _moved;
    private _message;
    private _retained;
    private _gap;
    /** _sift finds out which subscription the broker refuses: it admits all of a request, or none. */
    private _sift;
    private _subscribe;
    private _fetch;
    /** _post publishes what is in the queue, one after the other, so that the order is kept. */
    private _post;
}
