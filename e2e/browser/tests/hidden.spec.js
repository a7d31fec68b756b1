import { freePort } from '../support/processes.js'
import { expect, test } from '../support/test.js'

// Takes 3 minutes: CARILLON_CAMPAIGN=1 npx playwright test hidden
const minutes = Number(process.env.CARILLON_HIDDEN_MINUTES ?? 3)

test.skip(!process.env.CARILLON_CAMPAIGN, 'SKIP campaign: takes three minutes, run it with CARILLON_CAMPAIGN=1')

// Playwright switches off what browsers do to hidden pages; here it is what is tested.
test.use({
  launchOptions: async ({ launchOptions }, use) => {
    await use({
      ...launchOptions,
      ignoreDefaultArgs: ['--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding'],
    })
  },
})

for (const transport of ['websocket', 'sse', 'poll']) {
  test(`a page that is hidden for ${minutes} minutes stays connected by ${transport}`, async ({ page, house }) => {
    test.setTimeout((minutes + 2) * 60_000)
    const port = await freePort()
    await house.dev(port)
    await page.goto(`http://127.0.0.1:${port}/`)
    const session = await page.context().newCDPSession(page)
    const { windowId } = await session.send('Browser.getWindowForTarget')
    await page.evaluate(async (transport) => {
      const { connect } = await import('/sdk.js')
      window.told = { states: [], numbers: [], gaps: 0 }
      const client = connect('/ws', { transport })
      client.on('status', ({ state }) => told.states.push(state))
      client.subscribe('demo.tick', (m) => void told.numbers.push(m.data.n)).on('gap', () => told.gaps++)
    }, transport)
    await expect.poll(() => page.evaluate(() => told.numbers.length)).toBeGreaterThan(1)

    await session.send('Browser.setWindowBounds', { windowId, bounds: { windowState: 'minimized' } })
    await expect.poll(() => page.evaluate(() => document.visibilityState)).toBe('hidden')
    const from = await page.evaluate(() => told.numbers.length)
    await new Promise((resolve) => setTimeout(resolve, minutes * 60_000))
    expect(await page.evaluate(() => document.visibilityState)).toBe('hidden')

    const { states, numbers, gaps } = await page.evaluate(() => told)
    expect(states.filter((s) => s !== 'connecting')).toEqual(['connected'])
    expect(gaps).toBe(0)
    expect(numbers.length - from).toBeGreaterThan(minutes * 60 - 10)
    expect(numbers).toEqual(numbers.map((_, i) => numbers[0] + i))
  })
}
