"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.serveWebSocket = void 0;
const errors_js_1 = require("./errors.js");
const packets_js_1 = require("./packets.js");
const session_js_1 = require("./session.js");
/** How long a pong may take, in milliseconds. */
const pongGrace = 10_000;
/** serveWebSocket makes a session over WebSocket and serves it until it ends. */
const serveWebSocket = (c, token) => new Promise((_, reject) => new Connection(c, token, reject));
exports.serveWebSocket = serveWebSocket;
/** Connection is one WebSocket with a session of the broker on it. */
class Connection {
    constructor(_c, token, _ended) {
        this._c = _c;
        this._ended = _ended;
        /** What has come and is not handled yet; the last one may be the end. */
        this._frames = [];
        this._handling = false;
        this._greeted = false;
        this._over = false;
        this._writing = false;
        this._silence = 0;
        const { WebSocket = globalThis.WebSocket, connectTimeout = 10_000, name = 'carillon-js' } = _c._options;
        if (!WebSocket)
            throw new errors_js_1.Refusal(new errors_js_1.CarillonError('connection', 'there is no WebSocket here: give its constructor as an option'), false);
        this._session = new session_js_1.Session(_c, () => this._write());
        this._heard = _c._clock.now();
        this._watch = _c._clock.setTimeout(() => this._end(lost(`no session after ${connectTimeout} ms`), true), connectTimeout);
        const ws = new WebSocket(_c._url.href.replace(/^http/, 'ws'), packets_js_1.subprotocol);
        this._ws = ws;
        ws.binaryType = 'arraybuffer';
        ws.onopen = () => {
            if (ws.protocol !== packets_js_1.subprotocol)
                this._end(new errors_js_1.CarillonError('protocol', `the server does not speak ${packets_js_1.subprotocol}`));
            else
                ws.send((0, packets_js_1.encode)([1 /* Type.Connect */, 1, token || null], { client: name.slice(0, 64) || undefined }));
        };
        ws.onmessage = ({ data }) => {
            this._heard = _c._clock.now();
            this._frames.push(typeof data === 'string' ? { _error: new errors_js_1.CarillonError('protocol', 'found a text message') } : new Uint8Array(data));
            void this._handle();
        };
        ws.onerror = () => { }; // the close event follows
        ws.onclose = ({ code, reason }) => {
            const known = code > 3999 && code < 5000;
            this._frames.push({ _error: known ? new errors_js_1.Refusal((0, session_js_1.errorOf)(code, (0, errors_js_1.nameOf)(code, reason || `code_${code}`))) : lost(`closed with ${code} ${reason}`) });
            void this._handle();
        };
        _c._cut = (error) => this._end(error);
    }
    /** _handle takes what has come, one message after the other. */
    async _handle() {
        if (this._handling)
            return;
        this._handling = true;
        try {
            for (let f; !this._over && (f = this._frames.shift());) {
                if (!(f instanceof Uint8Array))
                    throw f._error;
                const slow = this._receive(f);
                if (slow)
                    await slow;
            }
        }
        catch (error) {
            this._end(error instanceof errors_js_1.CarillonError && error.number ? new errors_js_1.CarillonError('protocol', error.message) : error);
        }
        this._handling = false;
    }
    _receive(message) {
        if (this._greeted)
            return this._session._receive(message);
        const packets = (0, packets_js_1.readPackets)(message);
        this._greet(packets.next().value);
        return this._session._handle(packets);
    }
    _greet(p) {
        if (p?.is === 24 /* Type.Disconnect */ || p?.is === 23 /* Type.Error */)
            throw new errors_js_1.Refusal((0, session_js_1.errorOf)(p.code, p.name, p.detail, p.hint, p.is === 23 /* Type.Error */ ? p.retry_after : p.after), p.is === 23 /* Type.Error */ ? undefined : p.reconnect);
        if (p?.is !== 2 /* Type.Connected */)
            throw new errors_js_1.CarillonError('protocol', 'the first packet is not Connected');
        this._greeted = true;
        this._c._clock.clearTimeout(this._watch);
        this._silence = this._c._options.maxSilence ?? (p.ping && p.ping + pongGrace);
        if (this._silence)
            this._listen();
        this._session._begin(p);
    }
    /** _listen takes the connection for dead when nothing has come for too long ([PNG-4]). */
    _listen() {
        const { _clock: clock } = this._c;
        const left = this._heard + this._silence - clock.now();
        if (left <= 0)
            this._end(lost('nothing came from the broker for too long'), true);
        else
            this._watch = clock.setTimeout(() => this._listen(), left);
    }
    /** _write writes, soon and all at once, what there is to write. */
    _write() {
        if (this._writing)
            return;
        this._writing = true;
        queueMicrotask(() => {
            this._writing = false;
            for (let b; !this._over && (b = this._session._fill());)
                this._ws.send(b);
        });
    }
    _end(error, abort = false) {
        if (this._over)
            return;
        this._over = true;
        this._c._clock.clearTimeout(this._watch);
        const ws = this._ws;
        if (abort && ws.terminate)
            ws.terminate();
        else
            ws.close();
        if (this._greeted)
            this._session._detach(error);
        this._ended(error);
    }
}
function lost(detail) {
    return new errors_js_1.CarillonError('connection', detail);
}
