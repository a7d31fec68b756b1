"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.newTokens = newTokens;
const errors_js_1 = require("./errors.js");
function newTokens(source, clock) {
    let current = '';
    let expires = Infinity;
    let why = 'connect'; // a new one is needed; '' if the current one will do
    return {
        async _next(signal) {
            if (typeof source !== 'function')
                return source ?? '';
            const reason = why || (clock.date() >= expires && 'expired');
            if (reason) {
                try {
                    current = await source({ reason, signal });
                }
                catch (cause) {
                    throw (0, errors_js_1.lost)('no token could be had', cause);
                }
                expires = Infinity;
                why = '';
            }
            return current;
        },
        _accepted(at) {
            expires = at || Infinity;
        },
        _renew(reason) {
            why = reason;
            return typeof source === 'function';
        },
    };
}
