"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.HttpSession = void 0;
const client_js_1 = require("./client.js");
const errors_js_1 = require("./errors.js");
const httpapi_js_1 = require("./httpapi.js");
const message_js_1 = require("./message.js");
const position_js_1 = require("./position.js");
const sse_js_1 = require("./sse.js");
const subscription_js_1 = require("./subscription.js");
const topic_js_1 = require("./topic.js");
/** How long the first byte of a stream may take before it is taken to be held back on its way, in milliseconds. */
const patience = 4_000;
/** How long nothing may come of a stream, in which something comes every 15 s, and of any other answer beyond its wait. */
const silence = 25_000;
const wait = 25;
/** Why a request is given up that is to be made again. */
const poked = {};
/**
 * HttpSession serves the client over HTTP: one stream, or one poll after the other, for all subscriptions, opened again when these
 * change, and a request for each publish.
 *
 * There is one position for all of them. A subscription without one is started by a poll of its own, which answers with the
 * retained values and the position these are of; then the stream is opened at the lowest position of all, and the others skip what they
 * have had.
 */
class HttpSession {
    constructor(_c, _token, _way, _mayPoll, _works) {
        this._c = _c;
        this._token = _token;
        this._way = _way;
        this._mayPoll = _mayPoll;
        this._works = _works;
        /** Whom the stream, or the poll, under way is for. */
        this._members = [];
        this._request = new AbortController();
        this._over = new AbortController();
        /** Who has been told that it is live, and has not left since. */
        this._told = new Set();
        this._posting = false;
        /** It can be opened again without losing what is under way. */
        this._live = false;
        this._changed = false;
    }
    /** _run serves until something fails, or the session is stopped. */
    async _run() {
        const c = this._c;
        for (;;) {
            this._changed = this._live = false;
            this._request = new AbortController();
            const subs = c._subs.filter((s) => s._phase === 0 /* Phase.Idle */ && !s._in._parked);
            try {
                if (subs.length)
                    await this._serve(subs);
                else {
                    if (c._link !== this)
                        await this._fetch('v1/publish', { method: 'OPTIONS' }, this._request.signal);
                    this._attach();
                    await new Promise((resolve) => (this._poked = resolve));
                }
            }
            catch (error) {
                const { aborted, reason } = this._request.signal;
                if (error instanceof errors_js_1.Refusal && error._why._number === 4400)
                    await this._sift(subs, error._why);
                else if (!aborted)
                    throw error;
                else if (reason !== poked)
                    throw reason;
            }
            finally {
                this._leaveAll();
            }
        }
    }
    /** _stop ends the session. */
    _stop() {
        this._over.abort();
        this._request.abort();
        this._leaveAll();
        if (this._c._link === this)
            this._c._detached();
    }
    _join() {
        this._poke();
    }
    _leave(s) {
        this._told.delete(s);
        s._idle(this._c._pos);
        if ((0, client_js_1.remove)(this._members, s))
            this._poke();
    }
    _wake() {
        if (this._posting)
            return;
        this._posting = true;
        void this._post();
    }
    /** _poke opens the stream again, soon, with the subscriptions that there are then. It first lets come what was missed. */
    _poke() {
        if (this._changed)
            return;
        this._changed = true;
        queueMicrotask(() => {
            this._poked?.();
            if (this._live)
                this._request.abort(poked);
        });
    }
    /** _attach takes what is to be published, and says that the client is connected once it is known how. */
    _attach(known = true) {
        const c = this._c;
        if (known)
            this._works(this._way);
        if (c._link === this && (!known || c.transport === this._way))
            return;
        if (known)
            c._attached(this, c._pos, { transport: this._way });
        else
            c._link = this;
        if (c._queue.length)
            this._wake();
    }
    _leaveAll() {
        for (const s of this._members.splice(0))
            s._idle(this._c._pos);
    }
    async _serve(subs) {
        const c = this._c;
        // only positions of one run of the broker compare
        const epoch = subs.find((s) => s._own)?._own?.epoch;
        for (const s of subs)
            if (s._own && s._own.epoch !== epoch)
                s._restart();
        const fresh = subs.filter((s) => !s._own);
        if (fresh.length)
            await this._start(fresh);
        const members = subs.filter((s) => s._phase !== 4 /* Phase.Ended */ && !s._in._parked);
        const [first, ...others] = members.map((s) => s._own);
        if (!first)
            return;
        const after = others.reduce((a, b) => (b.seq < a.seq ? b : a), first);
        c._pos = after;
        this._members = members;
        for (const s of members) {
            s._id = ++c._nextId;
            s._phase = 3 /* Phase.Live */;
            s._skip = s._own.seq > after.seq ? s._own.seq : 0;
            s._shared = !s._skip;
        }
        const behind = members.filter((s) => !this._told.has(s));
        if (this._way === 'sse')
            await this._stream(behind);
        else
            await this._poll(behind);
    }
    /** _start begins subscriptions with the retained values, where the log is now. */
    async _start(fresh) {
        const a = await this._ask({}, fresh);
        const at = (0, position_js_1.parseCursor)(a.cursor);
        this._attach(this._way === 'poll');
        this._members = fresh.filter((s) => s._phase !== 4 /* Phase.Ended */);
        for (const s of this._members) {
            s._id = ++this._c._nextId;
            s._force(s._subscribed(at, at)._gap);
        }
        await this._answer(a);
        for (const s of this._members) {
            if (s._awaiting)
                s._force(s._retainedEnd(false, at));
            s._confirm();
            s._force(s._resumed(at));
            this._told.add(s);
        }
        this._leaveAll();
    }
    /** _poll asks for what comes, again and again. */
    async _poll(behind) {
        this._live = true;
        while (!this._changed) {
            const a = await this._ask({ after: (0, position_js_1.cursorOf)(this._c._pos), wait: behind.length ? '1s' : `${wait}s` }, this._members);
            this._attach();
            await this._answer(a);
            if (JSON.stringify(a.messages).length < 1e5)
                await this._caughtUp(behind.splice(0));
        }
    }
    async _ask(query, subs) {
        const { _clock: clock } = this._c;
        const timer = clock.setTimeout(() => this._request.abort((0, errors_js_1.lost)('no answer came')), silence + wait * 1000);
        try {
            return (await (await this._subscribe({ mode: 'poll', ...query }, subs)).json());
        }
        finally {
            clock.clearTimeout(timer);
        }
    }
    /** _answer takes the answer to a poll: what came before the gap, the gap, and what is sent again after it. */
    async _answer(a) {
        for (const m of a.messages)
            if (!m.retained)
                await this._message(m, m.id);
        if (a.gap)
            await this._gap(a.gap, '');
        for (const m of a.messages)
            if (m.retained)
                await this._message(m);
        for (const filter of a.reset ?? [])
            this._retained(filter, true);
        this._moved(a.cursor);
    }
    /** _stream reads server-sent events. When nothing of them comes through, the next ones are polled. */
    async _stream(behind) {
        const { _clock: clock } = this._c;
        const request = this._request;
        let came = false;
        let timer = clock.setTimeout(() => request.abort(), patience);
        const heard = () => {
            clock.clearTimeout(timer);
            timer = clock.setTimeout(() => request.abort((0, errors_js_1.lost)('nothing came for too long')), silence);
            if (!came)
                this._attach();
            came = true;
        };
        try {
            const { body } = await this._subscribe({ after: (0, position_js_1.cursorOf)(this._c._pos) }, this._members);
            if (body) {
                for await (const e of (0, sse_js_1.readEvents)(body, heard)) {
                    const slow = this._event(e._event, e._data && JSON.parse(e._data), e._id, behind);
                    if (slow)
                        await slow;
                    if (this._changed && this._live)
                        return request.abort(poked);
                }
            }
            if (came)
                throw (0, errors_js_1.lost)('the stream has ended');
        }
        catch (error) {
            if (error instanceof errors_js_1.Refusal || came)
                throw error;
        }
        finally {
            clock.clearTimeout(timer);
        }
        if (this._changed || this._over.signal.aborted)
            return;
        if (!this._mayPoll)
            throw (0, errors_js_1.lost)('nothing came of the stream');
        this._way = 'poll';
        this._attach();
    }
    _event(event, data, id, behind) {
        switch (event) {
            case 'message':
                return this._message(data, id);
            case 'gap':
                return this._gap(data, id);
            case 'retained': {
                const { filter, reset } = data;
                this._retained(filter, reset);
                break;
            }
            case 'end': {
                const p = data;
                throw (0, httpapi_js_1.refusalOf)(p, p.reconnect ? 4000 : 4200);
            }
        }
        if (id)
            this._moved(id);
        return event === 'live' ? this._caughtUp(behind.splice(0)) : undefined;
    }
    /** _caughtUp says that what comes next is live. */
    _caughtUp(behind) {
        this._live = true;
        const at = this._c._pos;
        return (0, subscription_js_1.allOf)(behind.map((s) => {
            if (s._phase !== 3 /* Phase.Live */)
                return undefined;
            const e = s._resumed(at);
            s._skip = 0;
            s._shared = true;
            this._told.add(s);
            s._confirm();
            return s._accept(this, e, at);
        }));
    }
    /** _moved takes the position up to which everything has come. */
    _moved(cursor) {
        const at = (0, position_js_1.parseCursor)(cursor);
        this._c._pos = at;
        for (const s of this._members) {
            if (!s._skip || (at.epoch === s._own?.epoch && at.seq < s._skip))
                continue;
            s._skip = 0;
            s._shared = true;
        }
    }
    _message(m, id = '') {
        const c = this._c;
        const { data_base64: base64, retained = false } = m;
        const content = { ...m, type: m.content_type, payload: base64 === undefined ? undefined : (0, position_js_1.bytes)(atob(base64)) };
        const size = base64?.length ?? JSON.stringify(m.data).length;
        const targets = this._members.filter((s) => (retained ? s._awaiting : s._phase === 3 /* Phase.Live */) && (0, topic_js_1.match)(s.filter, m.topic));
        if (retained) {
            for (const s of targets) {
                s._force((0, message_js_1.deliverable)(content, true, undefined), size);
                s._took('', 0);
            }
            return undefined;
        }
        const before = targets.map((s) => s._position(c._pos));
        const at = id ? (0, position_js_1.parseCursor)(id) : undefined;
        const due = targets.map((s) => !s._skip || at?.epoch !== s._own?.epoch || at.seq > s._skip);
        if (id)
            this._moved(id);
        return (0, subscription_js_1.allOf)(targets.map((s, i) => due[i] ? s._accept(this, (0, message_js_1.deliverable)(content, false, s._resumeAt(s._position(c._pos))), before[i], () => s._took('', 0), size) : undefined));
    }
    _retained(filter, reset) {
        for (const s of this._members)
            if (s.filter === filter && s._awaiting)
                s._force(s._retainedEnd(reset, this._c._pos));
    }
    _gap(g, id) {
        const before = this._c._pos;
        if (id)
            this._moved(id);
        const from = g.from ? (0, position_js_1.parseCursor)(g.from) : before;
        const to = (0, position_js_1.parseCursor)(g.to);
        return (0, subscription_js_1.allOf)(this._members.map((s) => s._accept(this, s._gap(g.reason, from, to, g.count), before, () => s._gapped({ reason: g.reason, subscription: 0, to }))));
    }
    /** _sift finds out which subscription the broker refuses: it admits all of a request, or none. */
    async _sift(subs, why) {
        const c = this._c;
        let found = false;
        for (const s of subs.length > 1 ? subs : []) {
            this._request = new AbortController();
            try {
                await this._ask({ retained: 'false' }, [s]);
            }
            catch (error) {
                if (!(error instanceof errors_js_1.Refusal) || error._why._number !== 4400)
                    throw error;
                c._refuse(s, error._why);
                found = true;
            }
        }
        if (!found)
            c._refuse(subs.at(-1), why);
    }
    _subscribe(query, subs) {
        const q = new URLSearchParams(query);
        for (const filter of new Set(subs.map((s) => s.filter)))
            q.append('filter', filter);
        if (!subs.some((s) => s._wantsRetained))
            q.set('retained', 'false');
        return this._fetch(`v1/subscribe?${q}`, {}, this._request.signal);
    }
    _fetch(path, init, signal) {
        return (0, httpapi_js_1.request)(this._c, this._token, path, { ...init, signal });
    }
    /** _post publishes what is in the queue, one after the other, so that the order is kept. */
    async _post() {
        const { signal } = this._over;
        for (let p; !signal.aborted && (p = this._c._queue.shift());)
            await (0, httpapi_js_1.post)(this._c, this._token, p, signal);
        this._posting = false;
    }
}
exports.HttpSession = HttpSession;
