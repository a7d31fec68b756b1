"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.none = void 0;
exports.parsePosition = parsePosition;
exports.tokenOf = tokenOf;
exports.cursorOf = cursorOf;
exports.parseCursor = parseCursor;
exports.bytes = bytes;
const errors_js_1 = require("./errors.js");
/** none is the epoch, or the term, of a position that has none. */
exports.none = '\0'.repeat(8);
const form = '\x01';
/** parsePosition reads a token; anything but the one token of a position is `bad_position` ([POS-3]). */
function parsePosition(token) {
    const text = String.fromCharCode(...token);
    const m = /^\x01(.{8})([\x80-\xff]*[\0-\x7f])(.{8})([\x80-\xff]*[\0-\x7f])$/s.exec(text) ?? [];
    const [, epoch = '', seq = '', term = '', offset = ''] = m;
    const p = { epoch, seq: number(seq), term, offset: number(offset) };
    // one token for one position: a number that is longer than it has to be, or too large, is written differently
    if (write(p) !== text)
        throw new errors_js_1.CarillonError('bad_position', 'this is not the token of a position');
    return p;
}
function number(leb) {
    return [...leb].reduceRight((n, c) => n * 128 + (c.charCodeAt(0) & 127), 0);
}
function write({ epoch, seq, term, offset }) {
    return form + epoch + leb(seq) + term + leb(offset);
}
function leb(n) {
    if (n > Number.MAX_SAFE_INTEGER)
        return '';
    return n > 127 ? String.fromCharCode((n % 128) | 128) + leb(Math.floor(n / 128)) : String.fromCharCode(n);
}
/** tokenOf is the position as the protocol writes it. */
function tokenOf(p) {
    return bytes(write(p));
}
/** cursorOf is the position as text ([POS-4]); '' for none. */
function cursorOf(p) {
    return p ? btoa(write(p)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '') : '';
}
/** parseCursor is the reverse of cursorOf. */
function parseCursor(cursor) {
    let token = '';
    try {
        token = atob(cursor.replace(/-/g, '+').replace(/_/g, '/'));
    }
    catch { }
    const p = parsePosition(bytes(token));
    if (cursorOf(p) !== cursor)
        throw new errors_js_1.CarillonError('bad_position', 'this is not a cursor');
    return p;
}
/** bytes are the characters up to ff as bytes. */
function bytes(text) {
    return Uint8Array.from(text, (c) => c.charCodeAt(0));
}
