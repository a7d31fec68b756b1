import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import { freePort } from '../support/processes.js'
import { requireProgram } from '../support/require.js'
import { expect, test } from '../support/test.js'

// A browser that nobody drives, in a window of its own, because tools that drive one keep its pages awake. Its page tells what
// happens to it by itself. Takes 3 minutes: CARILLON_CAMPAIGN=1 npm test hidden
const minutes = Number(process.env.CARILLON_HIDDEN_MINUTES ?? 3)
const transports = ['websocket', 'sse', 'poll']

const html = (broker) => `<!doctype html>
<title>followed</title>
<script type="module">
import { connect } from '${broker}/sdk.js'
async function tell(event) {
  const answer = await fetch('/told', { method: 'POST', body: JSON.stringify({ ...event, visibility: document.visibilityState }) })
  if ((await answer.text()) === 'hide') open('/another') // the new tab is in front of this one
}
for (const transport of ${JSON.stringify(transports)}) {
  const client = connect('${broker}/ws', { transport })
  client.on('status', ({ state }) => tell({ transport, state }))
  client.subscribe('demo.tick', (m) => tell({ transport, n: m.data.n })).on('gap', ({ reason }) => tell({ transport, gap: reason }))
}
</script>`

/** serve is the page, and what it has told so far. */
async function serve(house, broker) {
  const page = { told: [], hide: false }
  const server = createServer((req, res) => {
    if (req.method !== 'POST') return res.setHeader('Content-Type', 'text/html').end(req.url === '/' ? html(broker) : '<title>another one</title>')
    let body = ''
    req.on('data', (part) => (body += part))
    req.on('end', () => {
      page.told.push(JSON.parse(body))
      res.end(page.hide ? 'hide' : '')
      page.hide = false
    })
  })
  const port = await freePort()
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
  house.with(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  page.at = `http://127.0.0.1:${port}/`
  return page
}

test(`a page that is hidden for ${minutes} minutes stays connected by each transport and misses nothing`, async ({ house }) => {
  test.skip(!process.env.CARILLON_CAMPAIGN, 'SKIP campaign: it takes three minutes; CARILLON_CAMPAIGN=1 runs it')
  const xvfb = requireProgram(test, 'xvfb', 'xvfb-run')
  test.setTimeout((minutes + 2) * 60_000)
  const port = await freePort()
  await house.dev(port)
  const page = await serve(house, `http://127.0.0.1:${port}`)
  const { told } = page
  const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-default-browser-check', '--disable-popup-blocking',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', `--user-data-dir=${house.folder()}`]
  const browser = spawn(xvfb, ['-a', process.env.CHROMIUM ?? '/usr/bin/chromium', ...flags, page.at], { stdio: 'ignore', detached: true })
  const ended = new Promise((resolve) => browser.once('exit', resolve))
  house.with(async () => {
    process.kill(-browser.pid, 'SIGKILL')
    await ended
  })
  const ticks = (transport) => told.filter((t) => t.transport === transport && t.n !== undefined)
  for (const transport of transports) await expect.poll(() => ticks(transport).length).toBeGreaterThan(1)
  expect(told.at(-1).visibility).toBe('visible')
  page.hide = true
  await expect.poll(() => told.at(-1).visibility).toBe('hidden')

  const from = told.length
  const before = Object.fromEntries(transports.map((transport) => [transport, ticks(transport).length]))
  await new Promise((resolve) => setTimeout(resolve, minutes * 60_000))
  expect(told.slice(from).filter((t) => t.visibility !== 'hidden')).toEqual([])
  expect(told.slice(from).filter((t) => t.state || t.gap)).toEqual([]) // no change of the connection
  for (const transport of transports) {
    const numbers = ticks(transport).map((t) => t.n).sort((a, b) => a - b) // the reports may overtake each other
    expect(numbers).toEqual(numbers.map((_, i) => numbers[0] + i))
    test.info().annotations.push({ type: `${transport}, ticks while hidden`, description: String(numbers.length - before[transport]) })
    console.log(`${transport}: ${numbers.length - before[transport]} ticks while hidden`)
    expect(numbers.length - before[transport]).toBeGreaterThan(minutes * 60 - 10)
  }
})
