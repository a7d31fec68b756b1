import { lost } from './errors.js';
export function newTokens(source, clock) {
    let current = '';
    let expires = Infinity;
    let why = 'connect'; // a new one is needed; '' if the current one will do
    return {
        async _next(signal) {
            if (typeof source !== 'function')
                return source ?? '';
            const reason = why || (clock.date() >= expires && 'expired');
            if (reason) {
                try {
                    current = await source({ reason, signal });
                }
                catch (cause) {
                    throw lost('no token could be had', cause);
                }
                expires = Infinity;
                why = '';
            }
            return current;
        },
        _accepted(at) {
            expires = at || Infinity;
        },
        _renew(reason) {
            why = reason;
            return typeof source === 'function';
        },
    };
}
