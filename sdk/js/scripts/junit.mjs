// A reporter for node --test that writes JUnit XML to CARILLON_JUNIT, whole after every test: a run that is made to end
// leaves nothing behind that the file lacks.
import { writeFileSync } from 'node:fs'

const escape = (s) => String(s).replace(/[<>&"]/g, (c) => `&#${c.charCodeAt(0)};`).replace(/[^\t\n\r\x20-\uFFFD]/g, '?')

export default async function* (source) {
  const cases = []
  for await (const { type, data } of source) {
    if ((type !== 'test:pass' && type !== 'test:fail') || data.nesting || data.details?.type === 'suite') continue
    const skipped = data.skip === undefined ? '' : '<skipped/>'
    const failure = type === 'test:fail' ? `<failure message="${escape(data.details.error?.message)}"/>` : ''
    cases.push(`<testcase classname="sdk/js" name="${escape(data.name)}" time="${data.details.duration_ms / 1000}">${skipped}${failure}</testcase>\n`)
    writeFileSync(process.env.CARILLON_JUNIT, `<?xml version="1.0" encoding="utf-8"?>\n<testsuites>\n${cases.join('')}</testsuites>\n`)
    yield ''
  }
}
