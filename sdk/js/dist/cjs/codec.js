"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.encodePayload = encodePayload;
exports.decodePayload = decodePayload;
const reader_js_1 = require("./reader.js");
const writer_js_1 = require("./writer.js");
/** What a content type says a payload is. */
function formOf(contentType) {
    const type = contentType.replace(/;.*/s, '').trim().toLowerCase();
    if (!type || /^application\/(x-|vnd\.)?msgpack$/.test(type))
        return 'msgpack';
    if (type === 'application/json' || type.endsWith('+json'))
        return 'json';
    return type.startsWith('text/') ? 'text' : 'bytes';
}
/** encodePayload turns the value given to publish into a payload and its content type; that of msgpack is not written. */
function encodePayload(value, contentType = '') {
    if (value instanceof ArrayBuffer || ArrayBuffer.isView(value))
        return [(0, writer_js_1.bytesOf)(value).slice(), contentType || 'application/octet-stream'];
    const form = formOf(contentType);
    if (form === 'msgpack')
        return [(0, writer_js_1.msgpack)(value), contentType];
    if (form === 'bytes')
        throw new TypeError(`carillon: publish as ${contentType} takes bytes`);
    return [new TextEncoder().encode(form === 'json' ? JSON.stringify(value) : String(value)), contentType];
}
/** decodePayload is what a payload says by its content type: bytes of any other type are handed out as they are, and an empty one as undefined. */
function decodePayload(payload, contentType) {
    if (!payload.length)
        return undefined;
    const form = formOf(contentType);
    if (form === 'bytes')
        return payload;
    if (form !== 'msgpack') {
        const text = reader_js_1.utf8.decode(payload);
        return form === 'text' ? text : JSON.parse(text);
    }
    const r = new reader_js_1.Reader(payload, true);
    const value = r._value();
    return r._at < payload.length ? (0, reader_js_1.fail)('something behind the value') : value;
}
