import { CarillonError, retryable } from './errors.js';
import { parsePosition } from './position.js';
import { fail, Pairs, Reader } from './reader.js';
import { msgpack } from './writer.js';
/** The subprotocol of the WebSocket ([TRA-1]). */
export const subprotocol = 'carillon.v1';
/**
 * What the fields of a packet are, then its options: name:kind. Kinds: i integer, d id from 1, c code, s str, p position, b payload,
 * f bool, l map of integers, h map of str; in upper case it may be nil.
 */
export const shapes = {
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
const parsed = {};
function shapeOf(type) {
    const text = shapes[type];
    if (text === undefined)
        return undefined;
    return (parsed[type] ??= text.split('/').map((part) => part.split(' ').filter(Boolean).map((f) => f.split(':'))));
}
/** readPackets reads the packets of one WebSocket message, one at a time, each when it is asked for ([TRA-3], [TRA-4]). null is one of a type that is not known. */
export function* readPackets(b) {
    const r = new Reader(b);
    do {
        const values = r._value();
        if (!Array.isArray(values))
            fail('found something else than an array for a packet');
        yield decode(values);
    } while (r._at < b.length);
}
/** decode reads the values of one packet. */
export function decode(values) {
    const is = integer(values[0], 'type');
    if (is < 1 || is > 127)
        fail(`found the type ${is}`);
    const shape = shapeOf(is);
    if (!shape)
        return null;
    const [fields, options] = shape;
    const packet = { is };
    fields.forEach(([name, kind], i) => (packet[name] = read(kind, values[i + 1], name)));
    const given = pairs(values[fields.length + 1], 'options', 32);
    for (const [name, kind] of options) {
        const v = given.get(name);
        if (v !== undefined && v !== null)
            packet[name] = read(kind, v, name);
    }
    if (is === 24 /* Type.Disconnect */)
        packet['reconnect'] ??= retryable(packet['code']);
    return packet;
}
function read(kind, v, name) {
    const lower = kind.toLowerCase();
    if (v === undefined || v === null)
        return lower === kind ? fail(`${name} is missing`) : null;
    switch (lower) {
        case 's':
            return typeof v === 'string' ? v : wrong(name);
        case 'f':
            return typeof v === 'boolean' ? v : wrong(name);
        case 'p':
            return v instanceof Uint8Array ? parsePosition(v) : wrong(name);
        case 'b':
            return typeof v === 'string' ? new TextEncoder().encode(v) : v instanceof Uint8Array ? v : wrong(name);
        case 'l':
        case 'h': {
            const map = Object.create(null);
            for (const [k, item] of pairs(v, name, 64))
                map[k] = read(lower === 'l' ? 'i' : 's', item, name);
            return map;
        }
    }
    const n = integer(v, name);
    if ((lower === 'd' && n < 1) || (lower === 'c' && n > 65535))
        throw new CarillonError('bad_args', `${name} is ${n}`);
    return n;
}
function integer(v, name) {
    return Number.isSafeInteger(v) && v >= 0 ? v : wrong(name);
}
function wrong(name) {
    return fail(`${name} is of the wrong type`);
}
/** pairs reads a map with str keys, none twice ([ENC-8]). */
function pairs(v, name, most) {
    const map = new Map();
    if (v === undefined || v === null || (Array.isArray(v) && !v.length))
        return map;
    if (!(v instanceof Pairs))
        return wrong(name);
    for (let i = 0; i < v._items.length; i += 2) {
        const key = v._items[i];
        if (typeof key !== 'string' || map.has(key))
            fail(`${name} has a key that is no str, or twice`);
        map.set(key, v._items[i + 1]);
    }
    if (map.size > most)
        fail(`${name} has ${map.size} pairs`);
    return map;
}
/** encode writes a packet: its type and fields, then its options, of which those that are undefined are absent ([ENC-10]). */
export function encode(fields, options = {}) {
    const some = Object.values(options).some((v) => v !== undefined);
    return msgpack(some ? [...fields, options] : fields);
}
