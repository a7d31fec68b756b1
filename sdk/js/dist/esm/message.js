import { decodePayload } from './codec.js';
import { cursorOf } from './position.js';
/** deliverable makes the application's message of what came. */
export function deliverable(m, retained, position) {
    const { payload, type: contentType = '' } = m;
    let { data } = m;
    let error;
    if (payload) {
        try {
            data = decodePayload(payload, contentType);
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
            return cursorOf(position);
        },
    };
}
