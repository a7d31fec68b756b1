import { encodePayload } from './codec.js';
import { CarillonError } from './errors.js';
import { encode } from './packets.js';
import { cursorOf } from './position.js';
import { validateTopic } from './topic.js';
/** Publishing is a publish that is under way. */
export class Publishing {
    constructor(_topic, value, _options) {
        this._topic = _topic;
        this._options = _options;
        this._sentAt = 0;
        validateTopic(_topic);
        [this._payload, this._contentType] = encodePayload(value, _options.contentType);
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
        return encode([7 /* Type.Publish */, id, this._topic, this._payload], {
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
            cursor: base ? cursorOf({ ...base, seq: seq || base.seq, offset: offset || base.offset }) : '',
        });
    }
    /** _lost says that it was sent, and that no answer came. */
    _lost(cause) {
        this._fail(new CarillonError('unknown_outcome', `no acknowledgement of the publish to "${this._topic}"`, { cause }));
    }
}
