"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.Emitter = void 0;
const errors_js_1 = require("./errors.js");
/** Emitter calls listeners, none of which can hurt another one. */
class Emitter {
    constructor() {
        this._listeners = [];
    }
    /** _add takes a listener in, and returns what takes it away. */
    _add(event, listener) {
        const entry = { _event: event, _listener: listener };
        this._listeners.push(entry);
        return () => void (this._listeners = this._listeners.filter((other) => other !== entry));
    }
    /** _emit calls the listeners. It returns undefined if there are none, and a promise when some returned promises. */
    _emit(event, value) {
        let called;
        for (const { _event, _listener } of this._listeners) {
            if (_event !== event)
                continue;
            try {
                const result = _listener(value);
                called = result instanceof Promise ? Promise.all([called, result.catch(errors_js_1.report)]) : (called ?? true);
            }
            catch (error) {
                (0, errors_js_1.report)(error);
            }
        }
        return called;
    }
}
exports.Emitter = Emitter;
