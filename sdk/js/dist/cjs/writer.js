"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.msgpack = msgpack;
exports.bytesOf = bytesOf;
const utf8 = new TextEncoder();
/**
 * Writer writes values as MessagePack, each in its shortest form ([ENC-10]): null and undefined, booleans, numbers and bigints,
 * strings, bytes (any ArrayBuffer or view of one), dates (as timestamps), arrays, Maps, and the own enumerable members of any other
 * object, of which those that are undefined or functions are left out.
 */
class Writer {
    constructor() {
        this._bytes = new Uint8Array(128);
        this._view = new DataView(this._bytes.buffer);
        this._at = 0;
    }
    _done() {
        return this._bytes.subarray(0, this._at);
    }
    _value(v, depth = 0) {
        if (depth > 100)
            throw new TypeError('carillon: the value is nested too deep, or contains itself');
        if (v === null || v === undefined)
            this._byte(0xc0);
        else if (typeof v === 'boolean')
            this._byte(v ? 0xc3 : 0xc2);
        else if (typeof v === 'number')
            this._number(v);
        else if (typeof v === 'bigint')
            this._long(v);
        else if (typeof v === 'string') {
            const b = utf8.encode(v);
            this._head(b.length, 0xa0, 32, 0xd9, 1);
            this._raw(b);
        }
        else if (v instanceof ArrayBuffer || ArrayBuffer.isView(v)) {
            const b = bytesOf(v);
            this._head(b.length, 0, 0, 0xc4, 1);
            this._raw(b);
        }
        else if (Array.isArray(v)) {
            this._head(v.length, 0x90, 16, 0xdc, 2);
            for (const item of v)
                this._value(item, depth + 1);
        }
        else if (v instanceof Date)
            this._date(v.getTime());
        else if (typeof v === 'object') {
            const entries = v instanceof Map ? [...v] : Object.entries(v).filter(([, item]) => item !== undefined && typeof item !== 'function');
            this._head(entries.length, 0x80, 16, 0xde, 2);
            for (const [key, item] of entries) {
                this._value(key, depth + 1);
                this._value(item, depth + 1);
            }
        }
        else
            throw new TypeError(`carillon: a ${typeof v} cannot be encoded`);
    }
    _number(v) {
        if (!Number.isSafeInteger(v) || Object.is(v, -0)) {
            this._byte(0xcb);
            this._view.setFloat64(this._room(8), v);
        }
        else if (v >= 2 ** 32 || v < -(2 ** 31))
            this._long(BigInt(v));
        else if (v >= 0)
            this._head(v, 0, 128, 0xcc, 1);
        else if (v >= -32)
            this._byte(v + 256);
        else {
            const width = v >= -128 ? 1 : v >= -32768 ? 2 : 4;
            this._byte(0xd0 + (width >> 1));
            this._uint(width, v);
        }
    }
    _long(v) {
        if (v >= 2n ** 64n || v < -(2n ** 63n))
            throw new TypeError('carillon: a bigint of more than 64 bits cannot be encoded');
        this._byte(v < 0n ? 0xd3 : 0xcf);
        this._view.setBigUint64(this._room(8), BigInt.asUintN(64, v));
    }
    /** _date is a timestamp of 96 bits. */
    _date(ms) {
        const seconds = Math.floor(ms / 1000);
        this._raw([0xc7, 12, 0xff]);
        this._uint(4, (ms - seconds * 1000) * 1e6);
        this._view.setBigInt64(this._room(8), BigInt(seconds));
    }
    /** _head writes n within its type: in the first byte if it is less than most, else behind it in as many bytes as it takes, at least width. */
    _head(n, fixed, most, tag, width) {
        if (n < most)
            return this._byte(fixed + n);
        for (; n >= 256 ** width; width *= 2)
            tag++;
        this._byte(tag);
        this._uint(width, n);
    }
    _byte(b) {
        this._bytes[this._room(1)] = b;
    }
    /** _uint writes the lowest bytes of n. */
    _uint(width, n) {
        const at = this._room(width);
        for (let i = width; i--; n = Math.floor(n / 256))
            this._bytes[at + i] = n;
    }
    _raw(b) {
        this._bytes.set(b, this._room(b.length));
    }
    /** _room makes room for n more bytes and says where. */
    _room(n) {
        const at = this._at;
        this._at += n;
        if (this._at > this._bytes.length) {
            const old = this._bytes;
            this._bytes = new Uint8Array(2 * this._at);
            this._bytes.set(old);
            this._view = new DataView(this._bytes.buffer);
        }
        return at;
    }
}
/** msgpack is the value as MessagePack. */
function msgpack(value) {
    const w = new Writer();
    w._value(value);
    return w._done();
}
function bytesOf(v) {
    return v instanceof ArrayBuffer ? new Uint8Array(v) : new Uint8Array(v.buffer, v.byteOffset, v.byteLength);
}
