"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Refusal = exports.CarillonError = void 0;
exports.retryable = retryable;
exports.needsToken = needsToken;
exports.nameOf = nameOf;
exports.report = report;
const codes_js_1 = require("./codes.js");
/** Every failure that the client reports. Match `code` alone, never the text. */
class CarillonError extends Error {
    constructor(code, detail = '', more = {}) {
        super(detail ? `${code}: ${detail}` : code, more.cause === undefined ? undefined : { cause: more.cause });
        this.name = 'CarillonError';
        this.code = code;
        this.number = more.number ?? codes_js_1.codes[code] ?? 0;
        this.detail = detail;
        this.hint = more.hint ?? '';
        this.retryAfter = more.retryAfter;
    }
    /** Whether the same call may succeed later. After `unknown_outcome` it may apply a publish a second time. */
    get retryable() {
        return this.number ? retryable(this.number) : /^(u|q|con)/.test(this.code);
    }
}
exports.CarillonError = CarillonError;
/** retryable says whether a code allows to try again, also one that is not in the table ([COD-1]). */
function retryable(number) {
    return number < 4200 || hundreds(number) === 43;
}
/** needsToken says whether a code asks for a fresh token first. */
function needsToken(number) {
    return hundreds(number) === 41;
}
function hundreds(number) {
    return Math.floor(number / 100);
}
/** nameOf is the name of a code, or what it is called otherwise. */
function nameOf(number, otherwise) {
    return Object.entries(codes_js_1.codes).find(([, n]) => n === number)?.[0] ?? otherwise;
}
/** Refusal ends a connection, or the attempt to make one, with an answer of the broker. */
class Refusal {
    constructor(_why, _reconnect = retryable(_why.number)) {
        this._why = _why;
        this._reconnect = _reconnect;
    }
}
exports.Refusal = Refusal;
/** report hands over what a callback of the application threw: it must not hurt anybody else. */
function report(error) {
    console.error('carillon:', error);
}
