/** serverUrl is the broker's WebSocket address as an absolute http or https URL. Of a bare host it is /ws. */
export function serverUrl(url) {
    const here = globalThis.location?.href;
    const u = new URL(url, here && !here.startsWith('about:') ? here : undefined);
    u.protocol = u.protocol.replace(/^ws/, 'http');
    if (!/^https?:$/.test(u.protocol))
        throw new TypeError(`carillon: found ${u.protocol} in the address of the server, wanted ws:, wss:, http: or https:`);
    if (u.pathname === '/')
        u.pathname = '/ws';
    return u;
}
