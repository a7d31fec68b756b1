import { decodePayload } from './codec.js';
import { cursorOf } from './position.js';
/** Received is a Message; its payload is decoded when the application first looks at it. */
export class Received {
    constructor(_from, retained, _position) {
        this._from = _from;
        this.retained = retained;
        this._position = _position;
        this.type = 'message';
    }
    get topic() {
        return this._from.topic;
    }
    get contentType() {
        return this._from.contentType ?? '';
    }
    get headers() {
        return this._from.headers ?? Object.create(null);
    }
    get time() {
        return this._from.ts;
    }
    get retain() {
        return !!this._from.retain;
    }
    get cursor() {
        return cursorOf(this._position);
    }
    get data() {
        return this._decoded().data;
    }
    get error() {
        return this._decoded().error;
    }
    get _size() {
        return this._from.size;
    }
    toJSON() {
        const { topic, data, contentType, headers, time, retain, retained, cursor } = this;
        return { topic, data, contentType, headers, time, retain, retained, cursor };
    }
    _decoded() {
        const { payload, value } = this._from;
        if (!payload)
            return { data: value };
        if (!this._value) {
            try {
                this._value = { data: decodePayload(payload, this.contentType) };
            }
            catch (error) {
                this._value = { data: payload, error: error };
            }
        }
        return this._value;
    }
}
