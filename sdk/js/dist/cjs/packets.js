"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.shapes = exports.subprotocol = void 0;
exports.readPackets = readPackets;
exports.encode = encode;
const errors_js_1 = require("./errors.js");
const position_js_1 = require("./position.js");
const reader_js_1 = require("./reader.js");
const writer_js_1 = require("./writer.js");
/** The subprotocol of the WebSocket ([TRA-1]). */
exports.subprotocol = 'carillon.v1';
/**
 * What the fields of a packet are, then its options: name:kind. Kinds: i integer, d id from 1, c code, s str, p position, b payload,
 * f bool, l map of integers, h map of str; in upper case it may be nil.
 */
exports.shapes = {
    [2 /* Type.Connected */]: 'session:s position:p ping:i/user:s expires:i server:s limits:l',
    [4 /* Type.Subscribed */]: 'id:d position:p/',
    [6 /* Type.Unsubscribed */]: 'id:d/',
    [8 /* Type.Published */]: 'id:d seq:i offset:i durability:i/receivers:i duplicate:f',
    [9 /* Type.Message */]: 'seq:i offset:i topic:s payload:b ts:i/type:s headers:h retain:f',
    [10 /* Type.Replay */]: 'subscription:d count:i kind:i/',
    [11 /* Type.RetainedEnd */]: 'subscription:d/reset:f',
    [12 /* Type.Resumed */]: 'subscription:d position:p/',
    [13 /* Type.Gap */]: 'subscription:i reason:s from:P to:p/count:i',
    [15 /* Type.Ping */]: 'position:P/',
    [16 /* Type.Pong */]: '/',
    [23 /* Type.Error */]: 'id:D code:c name:s detail:s/hint:s retry_after:i',
    [24 /* Type.Disconnect */]: 'code:c name:s detail:s/reconnect:f after:i hint:s',
};
/** readPackets reads the packets of one WebSocket message, one at a time, each when it is asked for ([TRA-3], [TRA-4]). null is one of a type that is not known. */
function* readPackets(b) {
    const r = new reader_js_1.Reader(b);
    do
        yield decode(r._value());
    while (r._at < b.length);
}
const parsed = {};
function shapeOf(type) {
    const [fields, options] = (exports.shapes[type] ?? '').split('/');
    const parse = (part) => (part.match(/\w+:\w/g) ?? []).map((f) => f.split(':'));
    return options === undefined ? undefined : (parsed[type] ??= { _fields: parse(fields), _options: parse(options) });
}
/** decode reads the values of one packet. */
function decode(values) {
    if (!Array.isArray(values))
        return (0, reader_js_1.fail)('packet');
    const is = read('i', values.shift(), 'type');
    if (is < 1 || is > 127)
        (0, reader_js_1.fail)('type');
    const shape = shapeOf(is);
    if (!shape)
        return null;
    const packet = { is };
    for (const [name, kind] of shape._fields)
        packet[name] = read(kind, values.shift(), name);
    const given = pairs(values[0], 32);
    for (const [name, kind] of shape._options) {
        const v = read(kind.toUpperCase(), given.get(name), name);
        if (v !== null)
            packet[name] = v;
    }
    if (is === 24 /* Type.Disconnect */)
        packet['reconnect'] ??= (0, errors_js_1.retryable)(packet['code']);
    return packet;
}
/** read takes a value for a field of that kind; nil only if the kind is in upper case. */
function read(kind, v, name) {
    const lower = kind.toLowerCase();
    if (v === undefined || v === null)
        return lower === kind ? (0, reader_js_1.fail)(name) : null;
    const type = typeof v;
    const bin = v instanceof Uint8Array;
    if (lower === 's' && type === 'string')
        return v;
    if (lower === 'f' && type === 'boolean')
        return v;
    if (lower === 'p' && bin)
        return (0, position_js_1.parsePosition)(v);
    if (lower === 'b' && (bin || type === 'string'))
        return bin ? v : new TextEncoder().encode(v);
    if (/[hl]/.test(lower)) {
        const map = Object.create(null);
        for (const [k, item] of pairs(v, 64))
            map[k] = read(lower === 'l' ? 'i' : 's', item, name);
        return map;
    }
    if (!/[cdi]/.test(lower) || !Number.isSafeInteger(v) || v < 0)
        (0, reader_js_1.fail)(name);
    if ((lower === 'd' && !v) || (lower === 'c' && v > 65535))
        throw new errors_js_1.CarillonError('bad_args', `${name}: ${v}`);
    return v;
}
/** pairs reads a map with str keys, none twice ([ENC-8]). */
function pairs(v, most) {
    const map = new Map();
    if (v === undefined || v === null || (Array.isArray(v) && !v.length))
        return map;
    const items = v instanceof reader_js_1.Pairs ? v._items : (0, reader_js_1.fail)('options');
    for (let i = 0; i < items.length; i += 2) {
        const key = items[i];
        if (typeof key !== 'string' || map.has(key))
            (0, reader_js_1.fail)('options');
        map.set(key, items[i + 1]);
    }
    if (map.size > most)
        (0, reader_js_1.fail)('options');
    return map;
}
/** encode writes a packet: its type and fields, then its options, of which those that are undefined are absent ([ENC-10]). */
function encode(fields, options = {}) {
    return (0, writer_js_1.msgpack)(Object.values(options).some((v) => v !== undefined) ? [...fields, options] : fields);
}
