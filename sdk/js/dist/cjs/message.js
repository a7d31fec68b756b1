"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.deliverable = deliverable;
const codec_js_1 = require("./codec.js");
const position_js_1 = require("./position.js");
/** deliverable makes the application's message of what came. */
function deliverable(m, retained, position) {
    const { payload, type: contentType = '' } = m;
    let { data } = m;
    let error;
    if (payload) {
        try {
            data = (0, codec_js_1.decodePayload)(payload, contentType);
        }
        catch (e) {
            data = payload;
            error = e;
        }
    }
    return {
        type: 'message',
        topic: m.topic,
        data,
        error,
        contentType,
        headers: Object.assign(Object.create(null), m.headers),
        time: m.ts,
        retain: !!m.retain,
        retained,
        get cursor() {
            return (0, position_js_1.cursorOf)(position);
        },
    };
}
