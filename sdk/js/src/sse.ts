import type { Body } from './options.js'

/** One event of a stream of server-sent events, by field: event, data, id. */
export type ServerEvent = Readonly<Record<string, string>>

/** readEvents reads a stream of server-sent events, in which no field comes twice. It calls heard whenever something has come. */
export async function* readEvents(body: Body, heard: () => void): AsyncGenerator<ServerEvent> {
  const reader = body.getReader()
  const utf8 = new TextDecoder()
  for (let rest = ''; ; ) {
    const { done, value } = await reader.read()
    if (done) return
    heard()
    const blocks = (rest + utf8.decode(value, { stream: true })).split(/\r?\n\r?\n/)
    rest = blocks.pop() as string
    for (const block of blocks) {
      const e: Record<string, string> = {}
      for (const line of block.split(/\r?\n/)) {
        const [, name = '', text = ''] = /^(\w+): ?(.*)/s.exec(line) ?? []
        e[name] = text
      }
      yield e
    }
  }
}
