"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Sub = void 0;
exports.promise = promise;
exports.allOf = allOf;
const emitter_js_1 = require("./emitter.js");
const errors_js_1 = require("./errors.js");
const inbox_js_1 = require("./inbox.js");
const position_js_1 = require("./position.js");
const stream_js_1 = require("./stream.js");
const topic_js_1 = require("./topic.js");
/** promise returns a promise and what settles it; it may be rejected without anybody to look. */
function promise() {
    let settle;
    const p = new Promise((resolve, reject) => {
        settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    p.catch(() => { });
    return [p, settle];
}
/** allOf waits for all of them. */
function allOf(slow) {
    const waiting = slow.filter(Boolean);
    return waiting.length ? Promise.all(waiting) : undefined;
}
class Sub extends stream_js_1.Stream {
    constructor(_client, filter, options) {
        super(filter, options.retained !== false);
        this._client = _client;
        this._listeners = new emitter_js_1.Emitter();
        this._read = false;
        const { buffer } = _client._options;
        this._in = new inbox_js_1.Inbox(buffer?.messages ?? 4096, buffer?.bytes ?? 4 << 20, _client._clock);
        [this.ready, this._confirm] = promise();
        try {
            (0, topic_js_1.validateFilter)(filter);
            if (options.from)
                this._own = (0, position_js_1.parseCursor)(options.from);
        }
        catch (error) {
            this._end(error);
            return;
        }
        const { signal } = options;
        if (signal?.aborted)
            this.close();
        else
            signal?.addEventListener('abort', () => this.close(), { once: true });
    }
    on(event, listener) {
        const off = this._listeners._add(event, listener);
        if (event === 'message' && !this._read)
            void this._drain();
        return off;
    }
    async *[Symbol.asyncIterator]() {
        for await (const e of this.events())
            if (e.type === 'message')
                yield e;
    }
    async *events() {
        if (this._read)
            throw new TypeError('carillon: it is read already');
        this._read = true;
        try {
            for (let e; (e = await this._in._take());) {
                if (this._in._unpark())
                    this._client._join(this);
                const slow = this._listeners._emit(e.type, e);
                if (slow !== true)
                    await slow;
                yield e;
            }
        }
        finally {
            this.close();
        }
    }
    close() {
        this._client._drop(this);
        this._end(undefined, true);
    }
    /** _end ends the stream behind what the inbox still holds, or at once if drop is set. */
    _end(error, drop = false) {
        this._in._finish(error === undefined ? {} : { _error: error }, drop);
        this._confirm(error ?? new errors_js_1.CarillonError('closed', 'by the application'));
    }
    /**
     * _accept puts e into the inbox, then calls taken. It waits for room if there is none. A subscription that gets none leaves the
     * stream, served up to the position at, and gets e when it resumes.
     */
    _accept(link, e, at, taken, size = 0) {
        const id = this._id;
        switch (this._in._offer(e, size)) {
            case 0 /* Offer.Taken */:
                taken?.();
                return undefined;
            case 1 /* Offer.Wait */:
                return this._in._wait().then(() => (this._id === id ? this._accept(link, e, at, taken, size) : undefined));
        }
        link._leave(this);
        if (this._restarted)
            this._restarted = at;
        else
            this._own = at;
        return undefined;
    }
    /** _force puts e into the inbox whatever room there is. */
    _force(e, size = 0) {
        if (e)
            this._in._offer(e, size, true);
    }
    /** _drain reads the stream for the listeners. */
    async _drain() {
        try {
            for await (const _ of this.events())
                ;
        }
        catch (error) {
            if (!this._listeners._emit('error', error))
                (0, errors_js_1.report)(error);
        }
    }
}
exports.Sub = Sub;
