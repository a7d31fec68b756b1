"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Refusal = exports.CarillonError = void 0;
exports.retryable = retryable;
exports.needsToken = needsToken;
exports.lost = lost;
exports.report = report;
/** Every failure that the client reports. Match `code` alone, never the text. */
class CarillonError extends Error {
    constructor(code, detail = '', { number = 0, hint = '', retryAfter, cause } = {}) {
        super(detail ? `${code}: ${detail}` : code, cause ? { cause } : undefined);
        this.name = 'CarillonError';
        this.code = code;
        this.detail = detail;
        this.hint = hint;
        this.retryAfter = retryAfter;
        this._number = number;
        this.retryable = number ? retryable(number) : /^(unk|que|con)/.test(code);
    }
}
exports.CarillonError = CarillonError;
/** retryable says whether a code allows to try again, also one that is not in the table ([COD-1]). */
function retryable(number) {
    return number < 4200 || isOf(number, 43);
}
/** needsToken says whether a code asks for a fresh token first. */
function needsToken({ _number }) {
    return isOf(_number, 41);
}
/** isOf says whether a code is of that hundred. */
function isOf(number, hundred) {
    return Math.floor(number / 100) === hundred;
}
/** lost says that there is no connection. */
function lost(detail, cause) {
    return new CarillonError('connection', detail, { cause });
}
/** Refusal ends a connection, or the attempt to make one, with an answer of the broker. */
class Refusal {
    constructor(_why, _reconnect = retryable(_why._number)) {
        this._why = _why;
        this._reconnect = _reconnect;
    }
}
exports.Refusal = Refusal;
/** report hands over what a callback of the application threw: it must not hurt anybody else. */
function report(error) {
    console.error('carillon:', error);
}
