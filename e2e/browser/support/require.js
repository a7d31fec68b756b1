import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The same as internal/require of the Go tests: a need that is not met is a skip, unless CARILLON_REQUIRE names it. */
export function requireProgram(test, need, program) {
  const path = find(program)
  if (path) return path
  const reason = `SKIP ${need}: ${program} is not installed`
  if ((process.env.CARILLON_REQUIRE ?? '').split(',').includes(need)) throw new Error(`${need} is required by CARILLON_REQUIRE: ${program} is not installed`)
  test.skip(true, reason)
}

function find(program) {
  for (const dir of (process.env.PATH ?? '').split(delimiter)) {
    try {
      accessSync(join(dir, program), constants.X_OK)
      return join(dir, program)
    } catch {
      // not in this one
    }
  }
  return undefined
}
