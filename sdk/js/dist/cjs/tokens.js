"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Tokens = void 0;
const errors_js_1 = require("./errors.js");
/** Tokens keeps the token of the last connection and asks for a new one when it is needed. */
class Tokens {
    constructor(_source, _clock) {
        this._source = _source;
        this._clock = _clock;
        this._current = '';
        this._expires = Infinity;
        /** Why a new one is needed; '' if the current one will do. */
        this._reason = 'connect';
    }
    /** _next is the token for the next connection, '' for none. */
    async _next(signal) {
        if (typeof this._source !== 'function')
            return this._source ?? '';
        const reason = this._reason || (this._clock.date() >= this._expires && 'expired');
        if (!reason)
            return this._current;
        try {
            this._current = await this._source({ reason, signal });
        }
        catch (cause) {
            throw new errors_js_1.CarillonError('connection', 'the token could not be fetched', { cause });
        }
        this._expires = Infinity;
        this._reason = '';
        return this._current;
    }
    /** _accepted notes when the broker takes the token to expire, in milliseconds since the Unix epoch, if it does. */
    _accepted(expires) {
        this._expires = expires || Infinity;
    }
    /** _renew asks for a new token before the next connection, because of reason. It says whether there can be one. */
    _renew(reason) {
        this._reason = reason;
        return typeof this._source === 'function';
    }
}
exports.Tokens = Tokens;
