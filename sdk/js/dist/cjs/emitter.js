"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Emitter = void 0;
const errors_js_1 = require("./errors.js");
/** Emitter calls listeners, none of which can hurt another one. */
class Emitter {
    constructor() {
        this._listeners = new Map();
    }
    _add(event, listener) {
        let set = this._listeners.get(event);
        if (!set)
            this._listeners.set(event, (set = new Set()));
        set.add(listener);
        return () => void set.delete(listener);
    }
    _has(event) {
        return !!this._listeners.get(event)?.size;
    }
    /** _emit calls the listeners. When some return promises, it returns one for all of them. */
    _emit(event, value) {
        let slow;
        for (const listener of this._listeners.get(event) ?? []) {
            try {
                const r = listener(value);
                if (r instanceof Promise)
                    (slow ??= []).push(r.catch(errors_js_1.report));
            }
            catch (error) {
                (0, errors_js_1.report)(error);
            }
        }
        return slow && Promise.all(slow);
    }
}
exports.Emitter = Emitter;
