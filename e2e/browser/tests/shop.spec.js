import { Proxy } from '../support/proxy.js'
import { requireProgram } from '../support/require.js'
import { freePort } from '../support/processes.js'
import { complaintsOf, expect, test } from '../support/test.js'

/** visit logs in as user with a browser of its own and follows where that leads. */
async function visit(house, browser, shop, user) {
  const context = await browser.newContext()
  house.with(() => context.close())
  const page = await context.newPage()
  await page.goto(`${shop}/login.php`)
  await page.getByLabel('User').fill(user)
  await page.getByLabel('Password').fill('demo')
  await page.getByRole('button', { name: 'Log in' }).click()
  return page
}

/** change sets the status of an order in the back office. */
async function change(office, number, status) {
  const form = office.getByRole('form', { name: `Status of order ${number}` })
  await form.getByLabel('Status').selectOption(status)
  await form.getByRole('button', { name: 'Save' }).click()
  await expect(office.getByRole('status')).toContainText(`Order ${number} is saved`)
}

const order = (page, number) => page.locator(`.order[data-number="${number}"] .status-name`)
const connection = (page) => page.locator('#connection')

/** open starts broker, shop and what stands between the page and the broker. */
async function open(house, php, between) {
  const [brokerPort, shopPort] = [await freePort(), await freePort()]
  const data = house.folder()
  const origin = `http://127.0.0.1:${shopPort}`
  const start = () => house.shopBroker(brokerPort, origin, data)
  const broker = await start()
  const proxy = new Proxy(brokerPort, between)
  const pagePort = await proxy.listen()
  house.with(() => proxy.close())
  await house.shop(php, shopPort, brokerPort, pagePort)
  return { shop: origin, broker, proxy, start }
}

test.describe('an order that changes in the back office is on the page of its customer and of nobody else', () => {
  const ways = [
    { name: 'by WebSocket', between: {}, transport: 'websocket', says: 'live by WebSocket' },
    { name: 'by server-sent events, where an upgrade is refused', between: { websocket: 'refuse' }, transport: 'sse', says: 'live by server-sent events' },
    { name: 'by server-sent events, where an upgrade is never answered', between: { websocket: 'swallow' }, transport: 'sse', says: 'live by server-sent events' },
    { name: 'by long-poll, where streams are held back too', between: { websocket: 'refuse', streams: 'hold' }, transport: 'poll', says: 'live by long-poll' },
  ]
  for (const { name, between, transport, says } of ways) {
    test(name, async ({ browser, house }) => {
      const php = requireProgram(test, 'php', 'php')
      const { shop, proxy } = await open(house, php, between)
      const [ada, zoe, office] = await Promise.all([visit(house, browser, shop, '42'), visit(house, browser, shop, 'zoe.k@example.com'), visit(house, browser, shop, 'office')])
      const complaints = [complaintsOf(ada), complaintsOf(zoe)]
      await expect(connection(ada)).toHaveAttribute('data-transport', transport)
      await expect(connection(zoe)).toHaveAttribute('data-transport', transport)
      await expect(connection(ada)).toContainText(says)
      let loads = 0 // shop.js loads the page anew for an order that it does not know
      for (const page of [ada, zoe]) page.on('load', () => loads++)
      const asked = proxy.seen.length

      await change(office, 1002, 'shipped')
      await expect(office.locator('.flash')).toContainText('pushed')
      await expect(order(ada, 1002)).toHaveText('shipped')
      await expect(ada.locator('#news')).toContainText('Order 1002, Tuning fork, 440 Hz: now shipped.')
      await change(office, 1003, 'packed')
      await expect(order(zoe, 1003)).toHaveText('packed')
      await expect(zoe.locator('#news')).toContainText('Order 1003') // by the push, not by asking the shop
      await change(office, 1002, 'delivered')
      await expect(order(ada, 1002)).toHaveText('delivered')
      await expect(order(ada, 1001)).toHaveText('delivered')
      await expect(order(ada, 1004)).toHaveText('placed')

      expect(loads).toBe(0)
      await expect(zoe.locator('body')).not.toContainText('1002')
      if (transport === 'websocket') expect(proxy.seen.slice(asked)).toEqual([])
      expect(complaints.flat()).toEqual([])
    })
  }
})

test('a broker that is down during an order neither fails nor delays it, and the page catches up', async ({ browser, house }) => {
  const php = requireProgram(test, 'php', 'php')
  const { shop, broker, start } = await open(house, php, {})
  const [ada, office] = await Promise.all([visit(house, browser, shop, '42'), visit(house, browser, shop, 'office')])
  await expect(connection(ada)).toContainText('live by WebSocket')

  await broker.kill()
  const from = Date.now()
  await change(office, 1002, 'packed')
  const took = Date.now() - from
  test.info().annotations.push({ type: 'seconds for the order', description: String(took / 1000) })
  expect(took).toBeLessThan(5_000)
  await expect(office.locator('.flash')).toContainText('the broker is away')
  await expect(connection(ada)).toContainText('connecting')
  await expect(order(ada, 1002)).toHaveText('paid')

  await start()
  await expect(connection(ada)).toContainText('live by WebSocket')
  await expect(order(ada, 1002)).toHaveText('packed') // asked for because of the gap: this message never was
  await change(office, 1002, 'shipped')
  await expect(order(ada, 1002)).toHaveText('shipped')
})

test('who logs out is asked to log in', async ({ browser, house }) => {
  const php = requireProgram(test, 'php', 'php')
  const { shop } = await open(house, php, {})
  const ada = await visit(house, browser, shop, '42')
  await expect(connection(ada)).toContainText('live')
  await ada.getByRole('button', { name: 'Log out' }).click()
  await expect(ada.getByRole('heading', { name: 'Log in' })).toBeVisible()
  await ada.goto(shop)
  await expect(ada.getByRole('heading', { name: 'Log in' })).toBeVisible()
})
