import { backoff } from './backoff.js';
import { remove } from './client.js';
import { CarillonError, Refusal, retryable } from './errors.js';
import { deliverable } from './message.js';
import { encode, readPackets } from './packets.js';
import { none } from './position.js';
import { Publishing } from './publish.js';
import { allOf, Sub } from './subscription.js';
import { match } from './topic.js';
/** Session is a session of the broker over WebSocket: it writes requests, and hands out what comes. */
export class Session {
    constructor(_c, _wake, _began) {
        this._c = _c;
        this._wake = _wake;
        this._began = _began;
        this._control = [];
        this._requests = [];
        /** Refused for now; again after _laterAt. */
        this._later = [];
        this._laterAt = 0;
        this._inflight = new Map();
        this._byId = new Map();
        /** Live, but with a position of their own still. */
        this._joining = [];
        /** What remains of a Replay: so many messages for the subscription that has this id, if it still has. */
        this._replay = { _left: 0, _retained: false, _id: 0 };
        this._maxMessage = 65536;
        this._maxInflight = 64;
    }
    /** _begin asks again for what is subscribed, and lets go what waits. */
    _begin(hello) {
        const { user, session, limits = {} } = hello;
        const c = this._c;
        c._tokens._accepted(hello.expires);
        c.limits = limits;
        this._maxMessage = limits['packet'] || this._maxMessage;
        this._maxInflight = limits['inflight'] || this._maxInflight;
        c._attached(this, hello.position, { session, user, transport: 'websocket' });
        this._began(hello);
        this._ask();
    }
    /** _detach ends it: what is in flight has an unknown outcome. */
    _detach(cause) {
        this._c._clock.clearTimeout(this._retry);
        for (const r of this._inflight.values())
            if (r instanceof Publishing)
                r._lost(cause);
        this._c._detached();
    }
    /** _fill is the next message to write: answers to pings, then requests, then publishes, as many as fit. */
    _fill() {
        const c = this._c;
        const parts = this._control.splice(0);
        let size = parts.reduce((n, b) => n + b.length, 0);
        const take = (queue) => {
            for (let r; (r = queue[0]) !== undefined;) {
                if (this._inflight.size >= this._maxInflight)
                    return false;
                const id = c._nextId + 1;
                const b = typeof r === 'number' ? encode([5 /* Type.Unsubscribe */, id, r]) : r instanceof Sub ? r._subscribe(id) : r._packet(id);
                if (size && size + b.length > this._maxMessage)
                    return false;
                queue.shift();
                if (r instanceof Publishing) {
                    if (b.length > this._maxMessage) {
                        r._fail(new CarillonError('too_large', `found a packet of ${b.length} bytes, wanted at most ${this._maxMessage}`));
                        continue;
                    }
                    r._base = c._pos;
                    r._sentAt = c._clock.now();
                }
                else if (r instanceof Sub)
                    this._byId.set((r._id = id), r);
                parts.push(b);
                size += b.length;
                this._inflight.set((c._nextId = id), r);
            }
            return true;
        };
        if (take(this._requests))
            take(c._queue);
        if (!size)
            return undefined;
        const message = new Uint8Array(size);
        size = 0;
        for (const b of parts) {
            message.set(b, size);
            size += b.length;
        }
        return message;
    }
    _join() {
        this._ask();
    }
    _leave(s) {
        remove(this._requests, s);
        if (s._id) {
            this._byId.delete(s._id);
            this._requests.push(s._id);
            this._wake();
        }
        s._idle(this._c._pos);
    }
    /** _ask queues a Subscribe for every subscription that is idle and may be asked for now, and what was put off till now. */
    _ask() {
        const { _clock: clock, _subs: subs } = this._c;
        const now = clock.now();
        let soonest = Infinity;
        if (this._laterAt > now)
            soonest = this._laterAt - now;
        else
            this._requests.push(...this._later.splice(0));
        for (const s of subs) {
            if (s._phase !== 0 /* Phase.Idle */ || s._in._parked)
                continue;
            if (s._notBefore > now)
                soonest = Math.min(soonest, s._notBefore - now);
            else {
                s._phase = 1 /* Phase.Asked */;
                this._requests.push(s);
            }
        }
        clock.clearTimeout(this._retry);
        if (soonest < Infinity)
            this._retry = clock.setTimeout(() => this._ask(), soonest);
        this._wake();
    }
    /** _receive takes the packets of one message, in order; of types that a later version may add, none. */
    _receive(message) {
        return this._handle(readPackets(message));
    }
    _handle(packets) {
        for (let next; !(next = packets.next()).done;) {
            const slow = next.value && this._dispatch(next.value);
            if (slow)
                return slow.then(() => this._handle(packets));
        }
        return undefined;
    }
    _dispatch(p) {
        const c = this._c;
        if (!c._link && p.is !== 2 /* Type.Connected */ && p.is !== 24 /* Type.Disconnect */)
            throw new CarillonError('protocol', 'the first packet is not Connected');
        switch (p.is) {
            case 2 /* Type.Connected */:
                this._begin(p);
                break;
            case 9 /* Type.Message */:
                return this._message(p);
            case 4 /* Type.Subscribed */:
                this._subscribed(p.id, p.position);
                break;
            case 6 /* Type.Unsubscribed */:
                this._answered(p.id);
                break;
            case 8 /* Type.Published */: {
                const r = this._answered(p.id);
                if (r instanceof Publishing)
                    r._published(p);
                break;
            }
            case 10 /* Type.Replay */:
                this._replay = { _left: p.count, _retained: p.kind !== 0, _id: p.subscription };
                break;
            case 11 /* Type.RetainedEnd */: {
                const s = this._serving(p.subscription);
                s?._force(s._retainedEnd(!!p.reset, c._pos));
                break;
            }
            case 12 /* Type.Resumed */: {
                const s = this._serving(p.subscription);
                if (!s)
                    break;
                const e = s._resumed(p.position);
                this._goLive(s);
                return s._accept(this, e, p.position);
            }
            case 13 /* Type.Gap */:
                return this._gap(p);
            case 15 /* Type.Ping */:
                if (p.position) {
                    c._pos = p.position;
                    this._share();
                }
                this._control.push(encode([16 /* Type.Pong */]));
                this._wake();
                break;
            case 23 /* Type.Error */:
                this._refused(p);
                break;
            case 24 /* Type.Disconnect */:
                throw new Refusal(errorOf(p.code, p.name, p.detail, p.hint, p.after), p.reconnect && retryable(p.code));
        }
        return undefined;
    }
    /** _serving is the subscription that has this id, if it is served. */
    _serving(id) {
        const s = this._byId.get(id);
        return s?._serving ? s : undefined;
    }
    /** _answered takes the request of that id out of flight, which may let another one go. */
    _answered(id) {
        const r = this._inflight.get(id);
        this._inflight.delete(id);
        this._wake();
        return r;
    }
    _subscribed(id, at) {
        const s = this._answered(id);
        if (!(s instanceof Sub) || s._id !== id)
            return; // closed meanwhile
        const { _live, _gap } = s._subscribed(at, this._c._pos);
        if (_live)
            this._goLive(s);
        s._confirm();
        s._force(_gap);
    }
    /** _goLive lets plain messages come to s. */
    _goLive(s) {
        s._phase = 3 /* Phase.Live */;
        this._joining.push(s);
        this._share();
    }
    /**
     * _share lets live subscriptions share the session's position once it has reached their own ([POS-7]). Of two offsets of the same
     * term the session's is the higher one then, since nothing up to there is missing; a session without a term takes theirs.
     */
    _share() {
        const c = this._c;
        this._joining = this._joining.filter((s) => {
            const pos = c._pos;
            const own = s._own;
            if (s._phase !== 3 /* Phase.Live */ || s._shared)
                return false;
            if (own.epoch !== pos.epoch || own.seq > pos.seq)
                return true;
            const term = pos.term === none ? own.term : pos.term;
            c._pos = { ...pos, term, offset: term === own.term ? Math.max(pos.offset, own.offset) : pos.offset };
            s._shared = true;
            return false;
        });
    }
    /** _gap tells a subscription, or all live ones, what is missing. One that has no room for it leaves; it is told when it resumes. */
    _gap(p) {
        const c = this._c;
        const before = c._pos;
        if (p.subscription) {
            const s = this._serving(p.subscription);
            return s && this._tellGap(s, p, before);
        }
        c._pos = p.to;
        this._share();
        return allOf(c._subs.filter((s) => s._phase === 3 /* Phase.Live */).map((s) => this._tellGap(s, p, before)));
    }
    _tellGap(s, p, session) {
        return s._accept(this, s._gap(p.reason, p.from ?? undefined, p.to, p.count), s._position(session), () => {
            s._gapped(p);
            if (s._phase === 3 /* Phase.Live */)
                this._goLive(s);
        });
    }
    /** _message hands a message to the subscriptions it is for: the one of the Replay it is in, or all live ones that match. */
    _message(m) {
        const c = this._c;
        if (this._replay._left > 0) {
            this._replay._left--;
            const s = this._serving(this._replay._id);
            return s && this._replayed(s, m);
        }
        const targets = c._subs.filter((s) => s._phase === 3 /* Phase.Live */ && match(s.filter, m.topic)).map((s) => [s, s._position(c._pos)]);
        const pos = c._pos;
        c._pos = { ...pos, seq: Math.max(pos.seq, m.seq), offset: Math.max(pos.offset, m.offset) };
        if (this._joining.length)
            this._share();
        return allOf(targets.map(([s, before]) => {
            const now = c._pos;
            if (s._repeated(m, now))
                return undefined;
            const e = deliverable(m, false, s._resumeAt(s._position(now)));
            return s._accept(this, e, before, () => s._took(now.epoch, m.seq), sizeOf(m));
        }));
    }
    /** _replayed hands a message of a Replay to its subscription. Those of a snapshot are held whatever room there is: from the middle of it nothing can be resumed. */
    _replayed(s, m) {
        const session = this._c._pos;
        if (this._replay._retained) {
            s._awaiting = true;
            s._force(deliverable(m, true, undefined), sizeOf(m));
            s._took('', 0);
            return undefined;
        }
        if (s._repeated(m, session))
            return undefined;
        const at = s._position(session);
        const after = s._shared ? session : s._after(m, session);
        const taken = () => {
            if (!s._shared)
                s._own = after;
            s._took(session.epoch, m.seq);
        };
        return s._accept(this, deliverable(m, false, s._resumeAt(after)), at, taken, sizeOf(m));
    }
    /** _refused takes an Error: the answer to a request, or the end of a subscription. */
    _refused(p) {
        const r = this._answered(p.id);
        const error = errorOf(p.code, p.name, p.detail, p.hint, p.retry_after);
        if (r instanceof Publishing)
            r._fail(error);
        else if (typeof r === 'number') {
            if (!error.retryable)
                return;
            this._later.push(r);
            this._laterAt = this._c._clock.now() + Math.max(p.retry_after ?? 0, 1000);
            this._ask();
        }
        else {
            const s = r ?? this._serving(p.id);
            if (!s || s._id !== p.id)
                return;
            if (r) {
                this._byId.delete(s._id);
                s._id = 0;
            }
            this._refuse(s, error);
        }
    }
    /** _refuse ends a subscription with an error, or asks for it again later if that may help. */
    _refuse(s, error) {
        const c = this._c;
        if (!error.retryable)
            return c._refuse(s, error);
        this._leave(s);
        s._notBefore = c._clock.now() + (error.retryAfter ?? 0) + backoff(s._refusals++, c._options, c._clock);
        this._ask();
    }
}
/** sizeOf is what a message takes in memory, about: in bytes, without what any event takes. */
function sizeOf(m) {
    return m.payload.length + m.topic.length + JSON.stringify(m.headers ?? '').length;
}
/** errorOf is an error as the broker says it. */
export function errorOf(number, name, detail, hint, retryAfter) {
    return new CarillonError(name, detail, { number, hint, retryAfter });
}
