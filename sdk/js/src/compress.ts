/**
 * Compressed payloads ([CON-12], [MSG-5]), for who wants less traffic: a broker that does it compresses each message once for all who ask.
 *
 *     import { connect } from '@carillon/client'
 *     import { deflate } from '@carillon/client/compress'
 *     const c = connect('wss://host/ws', { compress: deflate })
 *
 * Nothing else changes: messages come in their order and decoded as ever. What is published is not compressed.
 */
import type { ClientImpl } from './client.js'
import { CarillonError } from './errors.js'
import { inflate } from './inflate.js'
import type { Compression } from './options.js'
import { type MessagePacket, Type } from './packets.js'

export type { Compression }

/** The only one that there is (RFC 1951). */
const name = 'deflate-raw'

/** How large a payload may be where the broker does not say, in bytes. */
const usual = 65_536

/**
 * deflate is what to give to connect as `compress`. A payload that is not what the protocol says, or larger than the broker's limit, ends the
 * connection, which is made again from the message before it.
 */
export const deflate: Compression = (c: ClientImpl) => {
  c._shapes[Type.Connected]![1]!['compress'] = c._shapes[Type.Message]![1]!['encoding'] = 's'
  c._plain = (m: MessagePacket) => {
    if (!m.encoding) return
    if (m.encoding !== name || c._hello?.compress !== name) throw new CarillonError('protocol', m.encoding)
    return { ...m, payload: inflate(m.payload, c.limits['payload'] ?? usual) }
  }
  return name
}
