"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.encodePayload = encodePayload;
exports.decodePayload = decodePayload;
const reader_js_1 = require("./reader.js");
const writer_js_1 = require("./writer.js");
const text = new TextDecoder();
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
function encodePayload(value, contentType) {
    if (value instanceof ArrayBuffer || ArrayBuffer.isView(value))
        return [(0, writer_js_1.bytesOf)(value).slice(), contentType ?? 'application/octet-stream'];
    const utf8 = new TextEncoder();
    switch (formOf(contentType ?? '')) {
        case 'msgpack':
            return [(0, writer_js_1.msgpack)(value), contentType ?? ''];
        case 'json':
            return [utf8.encode(JSON.stringify(value) ?? 'null'), contentType];
        case 'text':
            return [utf8.encode(String(value)), contentType];
    }
    throw new TypeError(`carillon: publish as ${contentType} takes bytes`);
}
/** decodePayload is what a payload says by its content type: bytes of any other type are handed out as they are, and none as undefined. */
function decodePayload(payload, contentType) {
    const form = formOf(contentType);
    if (form === 'bytes')
        return payload;
    if (form === 'text')
        return text.decode(payload);
    if (!payload.length)
        return undefined;
    if (form === 'json')
        return JSON.parse(text.decode(payload));
    const r = new reader_js_1.Reader(payload, true);
    const value = r._value();
    if (r._at < payload.length)
        throw new Error('carillon: the payload is more than one msgpack value');
    return value;
}
