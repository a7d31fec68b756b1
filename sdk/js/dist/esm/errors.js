import { codes } from './codes.js';
/** Every failure that the client reports. Match `code` alone, never the text. */
export class CarillonError extends Error {
    constructor(code, detail = '', more = {}) {
        super(detail ? `${code}: ${detail}` : code, more.cause === undefined ? undefined : { cause: more.cause });
        this.name = 'CarillonError';
        this.code = code;
        this.number = more.number ?? codes[code] ?? 0;
        this.detail = detail;
        this.hint = more.hint ?? '';
        this.retryAfter = more.retryAfter;
    }
    /** Whether the same call may succeed later. After `unknown_outcome` it may apply a publish a second time. */
    get retryable() {
        return this.number ? retryable(this.number) : /^(u|q|con)/.test(this.code);
    }
}
/** retryable says whether a code allows to try again, also one that is not in the table ([COD-1]). */
export function retryable(number) {
    return number < 4200 || hundreds(number) === 43;
}
/** needsToken says whether a code asks for a fresh token first. */
export function needsToken(number) {
    return hundreds(number) === 41;
}
function hundreds(number) {
    return Math.floor(number / 100);
}
/** nameOf is the name of a code, or what it is called otherwise. */
export function nameOf(number, otherwise) {
    return Object.entries(codes).find(([, n]) => n === number)?.[0] ?? otherwise;
}
/** Refusal ends a connection, or the attempt to make one, with an answer of the broker. */
export class Refusal {
    constructor(_why, _reconnect = retryable(_why.number)) {
        this._why = _why;
        this._reconnect = _reconnect;
    }
}
/** report hands over what a callback of the application threw: it must not hurt anybody else. */
export function report(error) {
    console.error('carillon:', error);
}
