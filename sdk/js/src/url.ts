/** serverUrl is the broker's WebSocket address as an absolute http or https URL. Of a bare host it is /ws. */
export function serverUrl(url: string | URL): URL {
  const u = new URL(url, (globalThis as { location?: { href: string } }).location?.href)
  u.protocol = u.protocol.replace(/^ws/, 'http')
  if (!/^http/.test(u.protocol) || u.hash || /token|=eyJ/.test(u.search)) throw new TypeError('carillon: bad URL')
  if (u.pathname === '/') u.pathname = '/ws'
  return u
}
