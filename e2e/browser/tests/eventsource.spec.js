import { freePort } from '../support/processes.js'
import { Proxy } from '../support/proxy.js'
import { expect, test } from '../support/test.js'

/** follow has the page follow filter by the browser's own EventSource and note what it is told. */
async function follow(page, url) {
  await page.evaluate((url) => {
    window.told = []
    const source = new EventSource(url)
    source.addEventListener('message', (e) => told.push({ message: JSON.parse(e.data).data.n, id: e.lastEventId }))
    source.addEventListener('gap', (e) => told.push({ gap: JSON.parse(e.data).reason }))
    source.addEventListener('live', () => told.push({ live: true }))
    source.addEventListener('error', () => told.push({ error: source.readyState }))
  }, url)
}

const told = (page, what) => page.evaluate((what) => window.told.filter((e) => what in e).map((e) => e[what]), what)

async function publish(port, from, to) {
  for (let n = from; n <= to; n++) {
    const answer = await fetch(`http://127.0.0.1:${port}/v1/topics/es.numbers`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ n }) })
    expect(answer.status).toBe(200)
  }
}

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

test('the browser’s own EventSource goes on after kill -9 of the broker: one gap, then everything in order', async ({ page, house }) => {
  const port = await freePort()
  const broker = await house.dev(port)
  await page.goto(`http://127.0.0.1:${port}/`)
  await follow(page, '/v1/subscribe?filter=es.>')
  await expect.poll(() => told(page, 'live')).toHaveLength(1)
  await publish(port, 1, 50)
  await expect.poll(() => told(page, 'message')).toEqual(numbers(1, 50))

  await broker.kill()
  await expect.poll(() => told(page, 'error')).not.toHaveLength(0)
  await house.dev(port)
  await expect.poll(() => told(page, 'live')).toHaveLength(2)
  await publish(port, 101, 150)
  await expect.poll(() => told(page, 'message')).toEqual([...numbers(1, 50), ...numbers(101, 150)])
  expect(await told(page, 'gap')).toEqual(['epoch'])
})

test('the browser’s own EventSource loses nothing when its connection breaks', async ({ page, house }) => {
  const port = await freePort()
  await house.dev(port)
  const proxy = new Proxy(port)
  const through = await proxy.listen()
  house.with(() => proxy.close())
  await page.goto(`http://127.0.0.1:${through}/`)
  await follow(page, '/v1/subscribe?filter=es.>')
  await expect.poll(() => told(page, 'live')).toHaveLength(1)
  for (let round = 0; round < 3; round++) {
    await publish(port, 20 * round + 1, 20 * round + 10)
    await expect.poll(() => told(page, 'message')).toEqual(numbers(1, 20 * round + 10))
    proxy.cut()
    await publish(port, 20 * round + 11, 20 * round + 20) // while nobody listens
    await expect.poll(() => told(page, 'message')).toEqual(numbers(1, 20 * round + 20))
  }
  expect(await told(page, 'gap')).toEqual([])
})
