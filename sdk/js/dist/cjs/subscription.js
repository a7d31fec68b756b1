"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Sub = void 0;
const emitter_js_1 = require("./emitter.js");
const errors_js_1 = require("./errors.js");
const inbox_js_1 = require("./inbox.js");
const position_js_1 = require("./position.js");
const stream_js_1 = require("./stream.js");
const topic_js_1 = require("./topic.js");
class Sub extends stream_js_1.Stream {
    constructor(_client, filter, options) {
        super(filter, options.retained !== false);
        this._client = _client;
        this._listeners = new emitter_js_1.Emitter();
        this._read = false;
        const { buffer } = _client._options;
        this._in = new inbox_js_1.Inbox(buffer?.messages ?? 4096, buffer?.bytes ?? 4 << 20, _client._clock);
        this.ready = new Promise((resolve, reject) => {
            this._confirmed = (error) => (error === undefined ? resolve() : reject(error));
        });
        this.ready.catch(() => { }); // whoever does not look at it is told by the iteration, or by an error event
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
            throw new TypeError('carillon: the subscription is already being read');
        this._read = true;
        try {
            for (let e; (e = await this._in._take());) {
                if (this._in._unpark())
                    this._client._join(this);
                // eslint-disable-next-line @typescript-eslint/no-floating-promises
                void this._tell(e.type, e);
                yield e;
            }
        }
        catch (error) {
            void this._tell('error', error);
            throw error;
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
        this._confirm(error ?? new errors_js_1.CarillonError('closed', 'the subscription is closed'));
    }
    /** _confirm lets ready go. */
    _confirm(error) {
        this._confirmed(error);
    }
    _tell(event, value) {
        return this._listeners._emit(event, value);
    }
    /** _drain reads the stream for the listeners, which may return promises to be waited for. */
    async _drain() {
        this._read = true;
        try {
            for (let e; (e = await this._in._take());) {
                if (this._in._unpark())
                    this._client._join(this);
                const slow = this._tell(e.type, e);
                if (slow)
                    await slow;
            }
        }
        catch (error) {
            if (!this._listeners._has('error'))
                (0, errors_js_1.report)(error);
            void this._tell('error', error);
        }
    }
}
exports.Sub = Sub;
