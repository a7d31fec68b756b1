import { test as base, expect } from '@playwright/test'
import { House } from './processes.js'

/** test gives each test a house of its own. */
export const test = base.extend({
  house: async ({}, use, info) => {
    const house = new House()
    try {
      await use(house)
      if (info.status !== info.expectedStatus) console.log(house.said)
    } finally {
      await house.end()
    }
  },
})

/** complaintsOf notes the exceptions of a page, and violations of its policy, for the end of the test. */
export function complaintsOf(page) {
  const complaints = []
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => {
    if (/Content Security Policy|TypeError|Uncaught/.test(message.text())) complaints.push(message.text())
  })
  return complaints
}

export { expect }
