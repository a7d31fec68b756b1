import { CarillonError } from './errors.js';
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Pairs is a map as it came: key, value, key, value. What it may hold is for whoever reads it to say. */
export class Pairs {
    constructor(_items) {
        this._items = _items;
    }
}
/**
 * Reader reads MessagePack from bytes that cannot be trusted. Every declared length is checked against the bytes that are there
 * before anything is made of it, depth is bounded, str is valid UTF-8. Anything else throws `bad_packet`.
 *
 * For packets it also holds to the limits of [ENC-6] and [ENC-7], gives maps as Pairs, and NaN for numbers that no field may
 * have ([ENC-3]). For payloads, with plain set, it makes objects, dates of timestamps and {type, data} of other extension types,
 * and bigints of integers that no number holds exactly; sizes are bounded by the bytes alone.
 */
export class Reader {
    constructor(_bytes, _plain = false, at = 0) {
        this._bytes = _bytes;
        this._plain = _plain;
        this._at = at;
        this._view = new DataView(_bytes.buffer, _bytes.byteOffset, _bytes.length);
    }
    /** _value reads one value, inside depth arrays and maps. */
    _value(depth = 0) {
        const c = this._uint(1);
        if (c < 0x80)
            return c;
        if (c < 0x90)
            return this._map(c & 15, depth);
        if (c < 0xa0)
            return this._array(c & 15, depth);
        if (c < 0xc0)
            return this._str(c & 31);
        if (c > 0xdf)
            return c - 256;
        switch (c) {
            case 0xc0:
                return null;
            case 0xc2:
            case 0xc3:
                return c > 0xc2;
            case 0xc4:
            case 0xc5:
            case 0xc6:
                return this._take(this._uint(1 << (c - 0xc4))).slice();
            case 0xc7:
            case 0xc8:
            case 0xc9:
                return this._extension(this._uint(1 << (c - 0xc7)));
            case 0xca: {
                const v = this._view.getFloat32(this._skip(4));
                return this._plain ? v : NaN;
            }
            case 0xcb:
                return this._view.getFloat64(this._skip(8));
            case 0xcc:
            case 0xcd:
            case 0xce:
                return this._uint(1 << (c - 0xcc));
            case 0xcf:
                return this._long(this._view.getBigUint64(this._skip(8)));
            case 0xd0:
                return this._view.getInt8(this._skip(1));
            case 0xd1:
                return this._view.getInt16(this._skip(2));
            case 0xd2:
                return this._view.getInt32(this._skip(4));
            case 0xd3:
                return this._long(this._view.getBigInt64(this._skip(8)));
            case 0xd9:
            case 0xda:
            case 0xdb:
                return this._str(this._uint(1 << (c - 0xd9)));
            case 0xdc:
            case 0xdd:
                return this._array(this._uint(2 << (c - 0xdc)), depth);
            case 0xde:
            case 0xdf:
                return this._map(this._uint(2 << (c - 0xde)), depth);
        }
        if (c > 0xd3)
            return this._extension(1 << (c - 0xd4)); // d4 to d8
        return fail('found the byte c1');
    }
    _skip(n) {
        const at = this._at;
        if (n > this._bytes.length - at)
            fail(`found ${this._bytes.length - at} bytes, wanted ${n} more`);
        this._at += n;
        return at;
    }
    _take(n) {
        const at = this._skip(n);
        return this._bytes.subarray(at, at + n);
    }
    /** _uint reads an unsigned number of 1, 2 or 4 bytes. */
    _uint(width) {
        const at = this._skip(width);
        return width < 2 ? this._view.getUint8(at) : width < 4 ? this._view.getUint16(at) : this._view.getUint32(at);
    }
    /** _long is a number of 64 bits: exact as a bigint where a number is not. */
    _long(v) {
        const n = Number(v);
        return Number.isSafeInteger(n) ? n : this._plain ? v : NaN;
    }
    _str(n) {
        const b = this._take(n);
        try {
            return utf8.decode(b);
        }
        catch {
            return fail(`found a str of ${n} bytes that is not UTF-8`);
        }
    }
    _extension(n) {
        if (!this._plain)
            fail('found an extension type');
        const type = this._view.getInt8(this._skip(1));
        const at = this._at;
        const data = this._take(n).slice();
        if (type !== -1)
            return { type, data };
        let nanos = 0;
        let seconds;
        if (n === 4)
            seconds = this._view.getUint32(at);
        else if (n === 8) {
            const both = this._view.getBigUint64(at);
            nanos = Number(both >> 34n);
            seconds = Number(both & (2n ** 34n - 1n));
        }
        else if (n === 12) {
            nanos = this._view.getUint32(at);
            seconds = Number(this._view.getBigInt64(at + 4));
        }
        else
            fail(`found a timestamp of ${n} bytes`);
        return new Date(seconds * 1000 + nanos / 1e6);
    }
    _values(n, most, depth) {
        if (n > this._bytes.length - this._at || !(n <= most || this._plain) || depth >= (this._plain ? 64 : 16)) {
            fail(`found ${n} values with ${this._bytes.length - this._at} bytes left, at depth ${depth}`);
        }
        const values = [];
        while (values.length < n)
            values.push(this._value(depth + 1));
        return values;
    }
    _array(n, depth) {
        return this._values(n, 1024, depth);
    }
    _map(n, depth) {
        const items = this._values(2 * n, 128, depth);
        return this._plain ? object(items) : new Pairs(items);
    }
}
/** object makes a plain object of keys and values; its keys are the object's own, whatever they are called. */
function object(items) {
    const o = {};
    for (let i = 0; i < items.length; i += 2) {
        const key = items[i];
        const value = items[i + 1];
        if (typeof key !== 'string' && typeof key !== 'number' && typeof key !== 'bigint')
            fail('found a map key that is no name');
        if (key === '__proto__')
            Object.defineProperty(o, key, { value, enumerable: true, configurable: true, writable: true });
        else
            o[String(key)] = value;
    }
    return o;
}
export function fail(detail) {
    throw new CarillonError('bad_packet', detail);
}
