// Package brokertest has what tests of the broker need instead of sockets and disks.
//
//   - Conn is a broker.Conn in memory whose socket the test opens, shuts and slows. It decodes what it was sent and notes when the
//     core breaks the contract of a Conn.
//   - Store is a broker.Store in memory whose commits the test holds, fails and rejects, whose answers it loses, and which goes away
//     and comes back with the same records, or with an older copy of them. It has terms, histories and keys, unless the test takes
//     them away.
//   - Client speaks the protocol over a Conn, packet by packet. Tracker is what an SDK makes of the packets: who is handed which
//     message, and from where each subscription would resume (spec/protocol.md, section 9.2).
//
// Nothing here starts a goroutine but Client, and nothing looks at a clock but through the time package, so all of it can be used in
// a testing/synctest bubble, where a test waits by synctest.Wait and never by time.
package brokertest
