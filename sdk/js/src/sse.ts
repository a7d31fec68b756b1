import type { Body } from './options.js'

/** One event of a stream of server-sent events. */
export interface ServerEvent {
  _event: string
  _data: string
  _id: string
}

/** readEvents reads a stream of server-sent events, of the fields event, data and id. It calls heard whenever something has come. */
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
      const e: ServerEvent = { _event: '', _data: '', _id: '' }
      for (const line of block.split(/\r?\n/)) {
        const text = line.replace(/^\w+: ?/, '')
        if (line.startsWith('data')) e._data += (e._data && '\n') + text
        else if (line.startsWith('id')) e._id = text
        else if (line.startsWith('event')) e._event = text
      }
      yield e
    }
  }
}
