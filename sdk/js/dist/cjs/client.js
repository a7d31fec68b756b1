"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.ClientImpl = void 0;
exports.remove = remove;
const backoff_js_1 = require("./backoff.js");
const connection_js_1 = require("./connection.js");
const emitter_js_1 = require("./emitter.js");
const errors_js_1 = require("./errors.js");
const options_js_1 = require("./options.js");
const publish_js_1 = require("./publish.js");
const subscription_js_1 = require("./subscription.js");
const tokens_js_1 = require("./tokens.js");
const url_js_1 = require("./url.js");
class ClientImpl {
    constructor(url, _options, _way = connection_js_1.serveWebSocket, _clock = options_js_1.systemClock) {
        this._options = _options;
        this._way = _way;
        this._clock = _clock;
        this.status = { state: 'connecting' };
        this.limits = {};
        this._subs = [];
        this._queue = [];
        /** The last request id; never used twice. */
        this._nextId = 0;
        /** Aborted at the end. */
        this._stop = new AbortController();
        this._listeners = new emitter_js_1.Emitter();
        this._unsettled = 0;
        this._closing = false;
        this._url = (0, url_js_1.serverUrl)(url);
        this._tokens = (0, tokens_js_1.newTokens)(_options.token, _clock);
        [this.ready, this._first] = (0, subscription_js_1.promise)();
        const { signal } = _options;
        const abort = () => this._finish();
        if (signal?.aborted)
            abort();
        else
            signal?.addEventListener('abort', abort, { once: true, signal: this._stop.signal });
        void this._run();
    }
    get transport() {
        return this.status.transport;
    }
    on(event, listener) {
        return this._listeners._add(event, listener);
    }
    subscribe(filter, ...rest) {
        const listener = typeof rest[0] === 'function' ? rest.shift() : undefined;
        const s = new subscription_js_1.Sub(this, filter, rest[0] ?? {});
        if (listener)
            s.on('message', listener);
        if (s._in._over)
            s._phase = 4 /* Phase.Ended */;
        else if (this._ended)
            s._end(this._ended._error);
        else {
            this._subs.push(s);
            this._join(s);
        }
        return s;
    }
    async publish(topic, data, options = {}) {
        return this._publish(new publish_js_1.Publishing(topic, data, options));
    }
    async clear(topic, options = {}) {
        return this._publish(new publish_js_1.Publishing(topic, new Uint8Array(), { ...options, contentType: '', retain: true }));
    }
    async close({ timeout = 5000 } = {}) {
        this._closing = true;
        if (this._unsettled) {
            await new Promise((resolve) => {
                const timer = this._clock.setTimeout(resolve, timeout);
                this._flushed = () => {
                    this._clock.clearTimeout(timer);
                    resolve();
                };
            });
        }
        this._finish();
    }
    async _publish(p) {
        const { signal } = p._options;
        signal?.throwIfAborted();
        if (this._closing || this._ended)
            throw this._ended?._error ?? closed();
        if (this._unsettled >= (this._options.pendingLimit ?? 1024)) {
            throw new errors_js_1.CarillonError('queue_full', `${this._unsettled} publishes wait`);
        }
        this._unsettled++;
        this._queue.push(p);
        this._link?._wake();
        const abort = () => {
            if (remove(this._queue, p))
                p._fail(signal?.reason);
            else
                p._lost(signal?.reason);
        };
        signal?.addEventListener('abort', abort);
        try {
            const ack = await p._settled;
            this.latency = this._clock.now() - p._sentAt;
            return ack;
        }
        finally {
            signal?.removeEventListener('abort', abort);
            if (!--this._unsettled)
                this._flushed?.();
        }
    }
    /** _run makes connections until the client is closed or one is refused for good. */
    async _run() {
        for (let attempt = 0; !this._ended; attempt++) {
            const why = await this._serve();
            if (this._ended)
                return;
            if (this._since !== undefined && this._clock.now() - this._since >= backoff_js_1.stableAfter)
                attempt = 0;
            this._since = undefined;
            let retryIn = (0, backoff_js_1.backoff)(attempt, this._options, this._clock);
            let error = why;
            if (why instanceof errors_js_1.Refusal) {
                error = why._why;
                const { code, retryAfter } = why._why;
                if ((0, errors_js_1.needsToken)(why._why)) {
                    if (!this._tokens._renew(code))
                        return this._finish(why._why);
                    if (!attempt)
                        retryIn = 0; // the first time in a row
                }
                else if (!why._reconnect)
                    return this._finish(why._why);
                retryIn = retryAfter || retryIn;
            }
            this._tell({ state: 'reconnecting', error: problem(error), retryIn });
            await this._pause(retryIn);
        }
    }
    async _serve() {
        try {
            const token = await this._tokens._next(this._stop.signal);
            if (this._ended)
                return undefined;
            return await this._way(this, token);
        }
        catch (error) {
            return error;
        }
    }
    _pause(ms) {
        return new Promise((resolve) => {
            const timer = this._clock.setTimeout(resolve, ms);
            this._goOn = () => {
                this._clock.clearTimeout(timer);
                resolve();
            };
        });
    }
    /** _attached begins a session. */
    _attached(link, at, status) {
        this._link = link;
        this._pos = at;
        this._since = this._clock.now();
        this._first();
        this._tell({ state: 'connected', ...status });
    }
    /** _detached ends a session: the subscriptions keep their places. */
    _detached() {
        this._link = undefined;
        this.limits = {};
        for (const s of this._subs)
            s._idle(this._pos);
    }
    /** _join asks for a subscription that is new, or whose application has caught up. */
    _join(s) {
        if (s._phase === 0 /* Phase.Idle */)
            this._link?._join(s);
    }
    /** _drop ends a subscription on the wire. */
    _drop(s) {
        if (remove(this._subs, s))
            this._link?._leave(s);
        s._phase = 4 /* Phase.Ended */;
        s._id = 0;
    }
    /** _refuse ends a subscription with an error of the broker. */
    _refuse(s, error) {
        this._drop(s);
        s._end(error);
    }
    /** _finish ends everything, with error or by the application's will. */
    _finish(error) {
        if (this._ended)
            return;
        this._ended = error ? { _error: error } : {};
        this._cut?.(closed());
        this._stop.abort();
        this._first(error ?? closed());
        for (const p of this._queue.splice(0))
            p._fail(error ?? closed());
        for (const s of this._subs.splice(0)) {
            s._phase = 4 /* Phase.Ended */;
            s._end(error);
        }
        this._flushed?.();
        this._goOn?.();
        this._tell({ state: 'closed', error });
    }
    _tell(status) {
        this.status = status;
        queueMicrotask(() => void this._listeners._emit('status', status));
    }
}
exports.ClientImpl = ClientImpl;
function closed() {
    return new errors_js_1.CarillonError('closed', 'by the application');
}
/** problem is what is told of an error. */
function problem(error) {
    return error instanceof errors_js_1.CarillonError ? error : (0, errors_js_1.lost)(String(error), error);
}
/** remove takes an item out of a list and says whether it was there. */
function remove(list, item) {
    const i = list.indexOf(item);
    if (i >= 0)
        list.splice(i, 1);
    return i >= 0;
}
