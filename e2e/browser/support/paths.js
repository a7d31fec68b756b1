import { fileURLToPath } from 'node:url'

/** The top folder of the repository, and the one of these tests. */
export const root = fileURLToPath(new URL('../../..', import.meta.url))
export const here = fileURLToPath(new URL('..', import.meta.url))
