import { join } from 'node:path'
import { freePort } from '../support/processes.js'
import { here } from '../support/paths.js'
import { requireProgram } from '../support/require.js'
import { complaintsOf, expect, test } from '../support/test.js'

// The ports are the ones that everybody has: 5173 is Vite's own, 8000 is php's in every example. The broker's is free, so that a
// `carillon dev` that runs on this machine is left alone.

async function works(page) {
  await expect(page.locator('#status')).toHaveText('connected')
  await expect(page.locator('body')).toHaveAttribute('data-published', 'yes')
  await expect(page.locator('#messages li').first()).toContainText('demo.tick')
}

test('a page of Vite on :5173 uses carillon dev without any configuration', async ({ page, house }) => {
  const port = await freePort()
  await house.dev(port)
  await house.vite()
  const complaints = complaintsOf(page)
  await page.goto(`http://localhost:5173/?broker=${encodeURIComponent(`ws://127.0.0.1:${port}/ws`)}`)
  await works(page)
  await page.goto(`http://localhost:5173/?broker=${encodeURIComponent(`ws://localhost:${port}/ws`)}`)
  await works(page)
  expect(complaints).toEqual([])
})

for (const transport of ['websocket', 'sse', 'poll']) {
  test(`a page of php on :8000 uses carillon dev without any configuration, by ${transport}`, async ({ page, house }) => {
    const php = requireProgram(test, 'php', 'php')
    const port = await freePort()
    await house.dev(port)
    await house.php(php, 8000, join(here, 'php-app'))
    const complaints = complaintsOf(page)
    const query = `transport=${transport}&broker=${encodeURIComponent(`http://127.0.0.1:${port}`)}`
    await page.goto(`http://127.0.0.1:8000/?${query}`)
    await works(page)
    await expect(page.locator('body')).toHaveAttribute('data-transport', transport)
    expect(complaints).toEqual([])
  })
}
