import { CarillonError } from './errors.js';
const form = 1;
/** parsePosition reads a token; anything but the one token of a position is `bad_position` ([POS-3]). */
export function parsePosition(b) {
    let at = 1;
    const run = () => {
        let hex = '';
        for (const end = at + 8; at < end; at++)
            hex += need(b, at).toString(16).padStart(2, '0');
        return hex;
    };
    const number = () => {
        for (let n = 0, unit = 1;; unit *= 128) {
            const c = need(b, at++);
            n += (c & 127) * unit;
            if (c < 128) {
                if (!Number.isSafeInteger(n) || (c === 0 && unit > 1))
                    refuse();
                return n;
            }
            if (unit > 2 ** 49)
                refuse();
        }
    };
    if (need(b, 0) !== form)
        refuse();
    const p = { epoch: run(), seq: number(), term: run(), offset: number() };
    if (at < b.length)
        refuse();
    return p;
}
function need(b, at) {
    return b[at] ?? refuse();
}
function refuse() {
    throw new CarillonError('bad_position', 'found something else than the token of a position');
}
/** tokenOf is the position as the protocol writes it. */
export function tokenOf(p) {
    const out = [form];
    for (const [run, n] of [
        [p.epoch, p.seq],
        [p.term, p.offset],
    ]) {
        for (let i = 0; i < 16; i += 2)
            out.push(parseInt(run.slice(i, i + 2), 16));
        let rest = n;
        for (; rest > 127; rest = Math.floor(rest / 128))
            out.push((rest % 128) + 128);
        out.push(rest);
    }
    return Uint8Array.from(out);
}
/** cursorOf is the position as text ([POS-4]). */
export function cursorOf(p) {
    if (!p)
        return '';
    return btoa(String.fromCharCode(...tokenOf(p)))
        .replace(/\+/g, '-')
        .replace(/\//g, '_')
        .replace(/=/g, '');
}
/** parseCursor is the reverse of cursorOf. */
export function parseCursor(text) {
    let p;
    if (/^[\w-]+$/.test(text)) {
        try {
            p = parsePosition(fromBase64(text.replace(/-/g, '+').replace(/_/g, '/')));
        }
        catch { }
    }
    // one text for one position: the bits that base64 leaves over count too
    return p && cursorOf(p) === text ? p : refuse();
}
export function fromBase64(text) {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
