import { defineConfig } from '@playwright/test'

// Chromium comes from the system and tries to reach nobody.
const args = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export default defineConfig({
  testDir: 'tests',
  globalSetup: './support/build.js',
  timeout: 90_000,
  expect: { timeout: 20_000 },
  workers: 2, // of files: the tests of one file run one after another, so that only one of them uses a fixed port
  forbidOnly: true,
  reporter: process.env.CARILLON_JUNIT ? [['list'], ['junit', { outputFile: process.env.CARILLON_JUNIT }]] : 'list',
  use: {
    launchOptions: { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args },
    trace: 'off',
    screenshot: 'only-on-failure',
  },
})
