"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Index = void 0;
exports.validateTopic = validateTopic;
exports.validateFilter = validateFilter;
exports.match = match;
exports.covers = covers;
exports.literal = literal;
exports.escapeLevel = escapeLevel;
exports.unescapeLevel = unescapeLevel;
const errors_js_1 = require("./errors.js");
const excluded = /[\p{White_Space}\p{Cc}\p{Cf}\p{Cs}]/u;
const utf8 = new TextEncoder();
/** validateTopic throws `bad_topic` unless topic is a valid name ([TOP-1] to [TOP-6]). */
function validateTopic(topic) {
    validate(topic, 'bad_topic', false);
}
/** validateFilter throws `bad_filter` unless filter is a valid filter ([FIL-1] to [FIL-3]). */
function validateFilter(filter) {
    validate(filter, 'bad_filter', true);
}
function validate(name, code, filter) {
    const levels = name.split('.');
    const fault = (detail) => {
        throw new errors_js_1.CarillonError(code, detail);
    };
    if (levels.length > 16)
        fault(`found ${levels.length} levels, wanted at most 16`);
    if (utf8.encode(name).length > 255)
        fault('found a name of more than 255 bytes');
    levels.forEach((level, i) => {
        if (filter && (level === '*' || (level === '>' && i === levels.length - 1)))
            return;
        if (!level)
            fault(`level ${i + 1} is empty`);
        if (/[*>]/.test(level))
            fault(`level ${i + 1} has a wildcard inside, or > that is not last`);
        if (excluded.test(level))
            fault(`level ${i + 1} has a blank, a control or a format character`);
    });
}
/** match says whether filter, which is valid, matches topic, which is valid ([FIL-4], [FIL-5]). */
function match(filter, topic) {
    return filter === topic || (!literal(filter) && covers(filter, topic));
}
/** covers says whether wider matches every topic that narrower matches; both are valid filters ([FIL-6]). */
function covers(wider, narrower) {
    if (/^[*>]/.test(wider) && narrower[0] === '$')
        return false;
    const w = wider.split('.');
    const n = narrower.split('.');
    for (const [i, level] of w.entries()) {
        if (n[i] === undefined)
            return false;
        if (level === '>')
            return true;
        if (n[i] === '>' || (level !== '*' && level !== n[i]))
            return false;
    }
    return w.length === n.length;
}
/** literal says whether a filter has no wildcard: it matches the one topic of its name. */
function literal(filter) {
    return !/[*>]/.test(filter);
}
/** escapeLevel makes exactly one level of a topic out of any text: a host name, a user id ([NAM-1]). */
function escapeLevel(text) {
    if (!text)
        return '%';
    return text.replace(/^\$|[.*>%\p{White_Space}\p{Cc}\p{Cf}]/gu, (c) => Array.from(utf8.encode(c), (b) => '%' + b.toString(16).toUpperCase().padStart(2, '0')).join(''));
}
/** unescapeLevel is the reverse of escapeLevel. What that does not write is `bad_args` ([NAM-2]). */
function unescapeLevel(level) {
    let text;
    try {
        text = level === '%' ? '' : decodeURIComponent(level);
    }
    catch { }
    if (text === undefined || escapeLevel(text) !== level)
        throw new errors_js_1.CarillonError('bad_args', 'found a level that is not escaped as it should be');
    return text;
}
/** Index finds the filters that match a topic. */
class Index {
    constructor() {
        this._literal = new Map();
        this._wild = [];
    }
    _add(item) {
        if (!literal(item.filter))
            this._wild.push(item);
        else
            this._literal.set(item.filter, [...(this._literal.get(item.filter) ?? []), item]);
    }
    _remove(item) {
        const others = (list) => list.filter((other) => other !== item);
        const rest = others(this._literal.get(item.filter) ?? []);
        if (rest.length)
            this._literal.set(item.filter, rest);
        else
            this._literal.delete(item.filter);
        this._wild = others(this._wild);
    }
    _match(topic) {
        return [...(this._literal.get(topic) ?? []), ...this._wild.filter((item) => match(item.filter, topic))];
    }
}
exports.Index = Index;
