import { Agent, createServer, request } from 'node:http'
import { connect } from 'node:net'

/**
 * Proxy stands between a page and the broker, as one of a company or of a hotel does. Its page does not know of it.
 *
 *   websocket: 'pass'; 'refuse' answers an upgrade as if it were an ordinary request; 'swallow' never answers
 *   streams:   'pass'; 'hold' keeps an event stream's bytes back until the stream ends, which it never does
 */
export class Proxy {
  #server
  #sockets = new Set()
  #agent = new Agent()
  seen = [] // "METHOD path" of every request, and "UPGRADE path"

  constructor(to, { websocket = 'pass', streams = 'pass' } = {}) {
    this.to = to
    this.#server = createServer((req, res) => this.#forward(req, res, streams))
    this.#server.on('upgrade', (req, socket, head) => this.#upgrade(req, socket, head, websocket))
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  async listen() {
    await new Promise((resolve, reject) => this.#server.listen(0, '127.0.0.1', resolve).once('error', reject))
    return this.#server.address().port
  }

  /** cut breaks every connection. */
  cut() {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  async close() {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.cut()
    this.#agent.destroy()
    await closed
  }

  #forward(req, res, streams) {
    this.seen.push(`${req.method} ${req.url}`)
    const out = request({ host: '127.0.0.1', port: this.to, method: req.method, path: req.url, headers: req.headers, agent: this.#agent, setHost: false })
    out.on('response', (answer) => {
      if (streams === 'hold' && /^text\/event-stream/.test(answer.headers['content-type'] ?? '')) {
        answer.resume() // read and kept back, head and all
        answer.on('close', () => res.destroy())
        res.on('close', () => answer.destroy())
        return
      }
      res.writeHead(answer.statusCode, answer.rawHeaders)
      answer.pipe(res)
      res.on('close', () => answer.destroy())
      answer.on('close', () => answer.complete || res.destroy())
    })
    out.on('error', () => res.destroy())
    res.on('close', () => out.destroy())
    req.pipe(out)
  }

  #upgrade(req, socket, head, websocket) {
    this.seen.push(`UPGRADE ${req.url}`)
    socket.on('error', () => socket.destroy())
    if (websocket === 'swallow') return
    if (websocket === 'refuse') {
      socket.end('HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
      return
    }
    const out = connect(this.to, '127.0.0.1', () => {
      const headers = req.rawHeaders.reduce((text, part, i) => text + part + (i % 2 ? '\r\n' : ': '), '')
      out.write(`GET ${req.url} HTTP/1.1\r\n${headers}\r\n`)
      out.write(head)
      socket.pipe(out).pipe(socket)
    })
    out.on('error', () => socket.destroy())
    out.on('close', () => socket.destroy())
    socket.on('close', () => out.destroy())
  }
}
