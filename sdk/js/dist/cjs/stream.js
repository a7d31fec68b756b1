"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Stream = void 0;
const packets_js_1 = require("./packets.js");
const position_js_1 = require("./position.js");
/** Stream is the wire side of a subscription: where it is, and what it takes. */
class Stream {
    constructor(filter, _wantsRetained) {
        this.filter = filter;
        this._wantsRetained = _wantsRetained;
        this._phase = 0 /* Phase.Idle */;
        /** Of the subscription in this session; 0 when idle or ended. */
        this._id = 0;
        /** It is live and the session has reached its own position, which does not count any more ([POS-7]). */
        this._shared = false;
        /** It waits for the end of a snapshot: when it is cut before that it starts afresh ([POS-8]). */
        this._awaiting = false;
        /** Over HTTP: what came up to that seq of the session's epoch has been delivered, when the stream was opened further back. */
        this._skip = 0;
        /** The application has been given something, and that before the snapshot under way began. */
        this._delivered = false;
        this._again = false;
        /** The highest seq delivered, and the epoch it counts in: nothing up to it is delivered again. */
        this._markEpoch = position_js_1.none;
        this._markSeq = 0;
        this._refusals = 0;
        this._notBefore = 0;
    }
    /** _subscribe is the packet that asks for the stream from where it is. */
    _subscribe(id) {
        return (0, packets_js_1.encode)([3 /* Type.Subscribe */, id, this.filter], {
            position: this._own && (0, position_js_1.tokenOf)(this._own),
            retained: this._wantsRetained ? undefined : false,
        });
    }
    get _serving() {
        return this._phase === 2 /* Phase.Starting */ || this._phase === 3 /* Phase.Live */;
    }
    /** _subscribed begins the stream at a position. It says whether the stream is live at once, and returns a gap to tell. */
    _subscribed(at, session) {
        this._refusals = 0;
        this._phase = 2 /* Phase.Starting */;
        if (this._own) {
            if (this._own.epoch === session.epoch)
                this._mark(this._own);
            return { _live: false };
        }
        const stood = this._restarted;
        const gap = stood && (0, position_js_1.cursorOf)(stood) !== (0, position_js_1.cursorOf)(at) ? this._gap('snapshot', stood, at) : undefined;
        this._restarted = undefined;
        this._own = at;
        this._mark(at);
        this._awaiting = this._wantsRetained;
        this._again = this._delivered;
        return { _live: !this._wantsRetained, _gap: gap };
    }
    _retainedEnd(reset, session) {
        this._awaiting = false;
        const end = { type: 'snapshot', reset: reset || this._again, cursor: this._cursor(session) };
        this._delivered = true;
        this._again = false;
        return end;
    }
    /** _resumed takes the position at which the subscription goes live. */
    _resumed(at) {
        this._own = at;
        this._shared = false;
        this._mark(at);
        return { type: 'live', cursor: this._cursor(at) };
    }
    /** _gapped moves the subscription over what is missing. After most gaps the retained messages are sent again ([GAP-4]). */
    _gapped(p) {
        if (p.subscription) {
            this._own = p.to;
            this._shared = false;
        }
        if (p.reason !== 'live' && this._wantsRetained)
            this._awaiting = true;
    }
    _gap(reason, from, to, count) {
        return { type: 'gap', filter: this.filter, reason, from: (0, position_js_1.cursorOf)(from), to: (0, position_js_1.cursorOf)(to), count };
    }
    /** _position is up to where the subscription has been served. */
    _position(session) {
        return this._shared ? session : this._own;
    }
    /** _resumeAt is the position from which the application can go on: none while a snapshot is awaited. */
    _resumeAt(p) {
        return this._awaiting || !p || (p.epoch === position_js_1.none && p.term === position_js_1.none) ? undefined : p;
    }
    _cursor(session) {
        return (0, position_js_1.cursorOf)(this._resumeAt(this._position(session)));
    }
    /**
     * _after is the subscription's own position after m, which came in a Replay ([POS-8]). While the position is of an earlier run
     * of the broker only its offset moves: seq counts in another epoch until Resumed. An offset is of the store's present term.
     */
    _after(m, session) {
        const own = this._own ?? session;
        return {
            epoch: own.epoch,
            seq: m.seq && own.epoch === session.epoch ? m.seq : own.seq,
            term: m.offset ? session.term : own.term,
            offset: m.offset || own.offset,
        };
    }
    /** _repeated says whether m has been delivered before. */
    _repeated(m, session) {
        if (m.seq)
            return this._markEpoch === session.epoch && m.seq <= this._markSeq;
        return m.offset > 0 && !this._shared && this._own?.term === session.term && m.offset <= this._own.offset;
    }
    /** _took notes that the application has been given something: of the session's epoch, with that seq. */
    _took(epoch, seq) {
        this._delivered = true;
        if (seq)
            this._mark({ epoch, seq });
    }
    _mark({ epoch, seq }) {
        if (this._markEpoch !== epoch || this._markSeq < seq) {
            this._markEpoch = epoch;
            this._markSeq = seq;
        }
    }
    /** _idle takes the subscription off the wire and keeps its place, if it has one to resume from. */
    _idle(session) {
        this._own = this._position(session);
        this._shared = false;
        if (this._serving && this._awaiting)
            this._restart();
        if (this._phase !== 4 /* Phase.Ended */)
            this._phase = 0 /* Phase.Idle */;
        this._id = this._skip = 0;
    }
    /** _restart lets it start afresh, and tell a gap if something has come meanwhile. */
    _restart() {
        this._restarted = this._own;
        this._own = undefined;
        this._awaiting = false;
    }
}
exports.Stream = Stream;
