import { execFileSync } from 'node:child_process'
import { freePort } from '../support/processes.js'
import { requireProgram } from '../support/require.js'
import { complaintsOf, expect, test } from '../support/test.js'

const messages = (page) => page.getByRole('list', { name: 'Messages, newest first' }).getByRole('listitem')

async function subscribe(page, filter) {
  await page.getByRole('textbox', { name: 'Filter' }).fill(filter)
  await page.getByRole('button', { name: 'Subscribe', exact: true }).click()
}

async function publish(page, topic, payload, { text = false, retain = false } = {}) {
  await page.getByLabel('Topic').fill(topic)
  await page.getByLabel('Payload').fill(payload)
  await page.getByRole('radio', { name: text ? 'Text' : 'JSON' }).check({ force: true })
  await page.getByLabel('Retain').setChecked(retain)
  await page.getByRole('button', { name: 'Publish' }).click()
}

for (const host of ['127.0.0.1', 'localhost']) {
  test(`at ${host} the page connects and ticks, publishes and shows what it published`, async ({ page, house }) => {
    const port = await freePort()
    await house.dev(port)
    const complaints = complaintsOf(page)
    await page.goto(`http://${host}:${port}/`)
    await expect(page.locator('#connection')).toContainText('connected by WebSocket')
    await expect(messages(page).first()).toContainText('demo.tick')
    await expect(page.locator('#latency')).toContainText('ms')

    await subscribe(page, 'orders.>')
    await publish(page, 'orders.42', '{"total": 5}')
    await expect(page.locator('#publish-result')).toContainText('Published: appended')
    const published = messages(page).filter({ hasText: 'orders.42' })
    await expect(published).toHaveCount(1)
    await expect(published).toContainText('{ "total": 5 }')
    await expect(published).toContainText('json')

    await publish(page, 'orders.43', 'Zoë <b>', { text: true, retain: true })
    await expect(page.locator('#publish-result')).toContainText('Published: committed')
    await expect(messages(page).filter({ hasText: 'orders.43' })).toContainText('Zoë <b>')

    // What is retained comes with the next subscription, once, although another filter matches it too.
    await page.getByRole('button', { name: 'Unsubscribe from orders.>' }).click()
    await page.getByRole('button', { name: 'Clear' }).click()
    await subscribe(page, 'orders.*')
    await subscribe(page, 'orders.43')
    await expect(messages(page).filter({ hasText: 'orders.43' })).toContainText('retained')
    await publish(page, 'orders.43', '', { text: true, retain: true })
    await expect(page.locator('#publish-result')).toContainText('Cleared: committed')
    await expect(messages(page).filter({ hasText: 'the retained value was removed' })).toHaveCount(1)
    await expect(messages(page).filter({ hasText: 'orders.43' })).toHaveCount(2)
    expect(complaints).toEqual([])
  })
}

test('a mistake is explained where it was made', async ({ page, house }) => {
  const port = await freePort()
  await house.dev(port)
  await page.goto(`http://127.0.0.1:${port}/`)
  await subscribe(page, 'orders..42')
  await expect(page.locator('#subscribe-error')).toContainText('bad_filter')
  await publish(page, 'orders.*', '{}')
  await expect(page.locator('#publish-result')).toContainText('bad_topic')
  await publish(page, 'orders.42', '{"total": ')
  await expect(page.locator('#publish-result')).toContainText('This is not JSON')
  await publish(page, '$sys.x', '{}')
  await expect(page.locator('#publish-result')).toContainText('forbidden')
  await expect(page.locator('#publish-result').getByRole('link')).toHaveAttribute('href', /docs\/codes\.md#.*forbidden$/)
})

test('a pause holds the list still, and a filter can be brought out', async ({ page, house }) => {
  const port = await freePort()
  await house.dev(port)
  await page.goto(`http://127.0.0.1:${port}/`)
  await expect(messages(page).first()).toContainText('demo.tick')
  await page.getByRole('button', { name: 'Pause' }).click()
  await subscribe(page, 'orders.*')
  const before = await messages(page).count()
  await publish(page, 'orders.1', '1')
  await expect(page.locator('#count')).toContainText(/paused, [1-9]/)
  expect(await messages(page).count()).toBe(before)
  await page.getByRole('button', { name: 'Go on' }).click()
  const mine = messages(page).filter({ hasText: 'orders.1' })
  await expect(mine).toHaveCount(1)
  await page.getByRole('button', { name: 'orders.*', exact: true }).click()
  await expect(mine).not.toHaveClass(/dim/)
  await expect(messages(page).filter({ hasText: 'demo.tick' }).first()).toHaveClass(/dim/)
})

test('after a restart of the broker the page says that there is a gap, and goes on', async ({ page, house }) => {
  const port = await freePort()
  const broker = await house.dev(port)
  await page.goto(`http://127.0.0.1:${port}/`)
  await expect(messages(page).first()).toContainText('demo.tick')
  await broker.kill()
  await expect(page.locator('#connection')).toContainText('connection lost')
  await house.dev(port)
  await expect(page.locator('#connection')).toContainText('connected by WebSocket')
  await expect(messages(page).filter({ hasText: 'the broker was restarted' })).toHaveCount(1)
  await expect(messages(page).first()).toContainText('demo.tick')
})

test('the page can be used with the keyboard alone, and its lines for other languages are right', async ({ page, house, context }) => {
  const port = await freePort()
  await house.dev(port)
  await page.goto(`http://127.0.0.1:${port}/`)
  await expect(page.locator('#connection')).toContainText('connected')
  await page.getByRole('textbox', { name: 'Filter' }).focus()
  await page.keyboard.type('keys.>')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('list', { name: 'Subscriptions' })).toContainText('keys.>')
  await page.getByLabel('Payload').focus()
  await page.getByLabel('Topic').fill('keys.a')
  await page.getByLabel('Payload').focus()
  await page.keyboard.press('Control+Enter')
  await expect(messages(page).filter({ hasText: 'keys.a' })).toHaveCount(1)

  const snippet = page.locator('#snippet')
  await page.getByRole('tab', { name: 'curl' }).focus()
  await expect(snippet).toContainText(`http://127.0.0.1:${port}/v1/topics/keys.a`)
  await page.keyboard.press('ArrowRight')
  await expect(page.getByRole('tab', { name: 'JS' })).toBeFocused()
  await expect(snippet).toContainText(`connect('ws://127.0.0.1:${port}/ws')`)
  await page.keyboard.press('ArrowRight')
  await expect(snippet).toContainText(`carillon.Dial(ctx, "ws://127.0.0.1:${port}/ws")`)
  await page.keyboard.press('ArrowRight')
  await expect(snippet).toContainText(`file_get_contents('http://127.0.0.1:${port}/v1/topics/'`)
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.getByRole('button', { name: 'Copy' }).click()
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(await snippet.textContent())
})

test('the lines for curl, PHP and JavaScript do what they say, as they stand', async ({ page, house, browser }) => {
  const php = requireProgram(test, 'php', 'php')
  const port = await freePort()
  await house.dev(port)
  await page.goto(`http://127.0.0.1:${port}/`)
  await subscribe(page, 'lines.>')
  await page.getByLabel('Topic').fill('lines.one')
  await page.getByLabel('Payload').fill(`{"it's": "\\"quoted\\" $HOME"}`)
  const [publishing] = (await page.locator('#snippet').textContent()).split('\n\n')
  execFileSync('sh', ['-ec', publishing], { stdio: 'pipe' })
  await expect(messages(page).filter({ hasText: 'lines.one' })).toContainText(`{ "it's": "\\"quoted\\" $HOME" }`)

  await page.getByRole('tab', { name: 'PHP' }).click()
  execFileSync(php, ['-r', await page.locator('#snippet').textContent()], { stdio: 'pipe' })
  await expect(messages(page).filter({ hasText: `{ "it's": "\\"quoted\\" $HOME" }` })).toHaveCount(2)

  await page.getByRole('tab', { name: 'JS' }).click()
  const code = await page.locator('#snippet').textContent()
  const context = await browser.newContext()
  house.with(() => context.close())
  const other = await context.newPage()
  await other.goto(await house.emptyPage())
  const said = other.waitForEvent('console', (m) => m.text().startsWith('lines.one'))
  await other.addScriptTag({ content: code, type: 'module' })
  await said
  await expect(messages(page).filter({ hasText: 'lines.one' })).toHaveCount(3)
})

test('carillon serve has no page, and says so', async ({ page, house }) => {
  const [port, origin] = [await freePort(), 'http://127.0.0.1:1']
  await house.shopBroker(port, origin, house.folder())
  const answer = await page.goto(`http://127.0.0.1:${port}/`)
  expect(answer.headers()['content-type']).toBe('text/plain; charset=utf-8')
  expect(await answer.text()).toContain('This is Carillon')
  expect((await page.goto(`http://127.0.0.1:${port}/sdk.js`)).status()).toBe(404)
})
