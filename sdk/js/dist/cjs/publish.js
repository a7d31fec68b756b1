"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Publishing = void 0;
const codec_js_1 = require("./codec.js");
const errors_js_1 = require("./errors.js");
const packets_js_1 = require("./packets.js");
const position_js_1 = require("./position.js");
const topic_js_1 = require("./topic.js");
/** Publishing is a publish that is under way. */
class Publishing {
    constructor(_topic, value, _options) {
        this._topic = _topic;
        this._options = _options;
        this._sentAt = 0;
        (0, topic_js_1.validateTopic)(_topic);
        [this._payload, this._contentType] = (0, codec_js_1.encodePayload)(value, _options.contentType);
        // sorted ([ENC-10]), and text whatever was given: anything else would end the session
        const headers = Object.entries(_options.headers ?? {}).map(([k, v]) => [k, String(v)]);
        if (headers.length)
            this._headers = new Map(headers.sort(([a], [b]) => (a < b ? -1 : 1)));
        this._settled = new Promise((resolve, reject) => {
            this._settle = resolve;
            this._fail = reject;
        });
    }
    /** _packet is the request with that id. */
    _packet(id) {
        const o = this._options;
        return (0, packets_js_1.encode)([7 /* Type.Publish */, id, this._topic, this._payload], {
            retain: o.retain || undefined,
            type: this._contentType || undefined,
            headers: this._headers,
            receivers: o.receivers || undefined,
            mid: o.id || undefined,
        });
    }
    /** _published takes the acknowledgement. */
    _published(p) {
        const { seq, offset, receivers } = p;
        const base = this._base;
        this._settle({
            seq,
            offset,
            receivers,
            durability: p.durability ? 'committed' : 'appended',
            duplicate: !!p.duplicate,
            cursor: base ? (0, position_js_1.cursorOf)({ ...base, seq: seq || base.seq, offset: offset || base.offset }) : '',
        });
    }
    /** _lost says that it was sent, and that no answer came. */
    _lost(cause) {
        this._fail(new errors_js_1.CarillonError('unknown_outcome', `no acknowledgement of the publish to "${this._topic}"`, { cause }));
    }
}
exports.Publishing = Publishing;
