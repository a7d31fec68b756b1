// Package storebolt is the bundled store plugin: a broker.Store in one bbolt file.
//
// An append goes: Store.Append -> queue -> Store.run (the committer) -> commit.add for every record -> one transaction,
// fsynced -> Store.publish, which wakes the followers -> the callers' done. A follower is a cursor: it takes the newest
// records from a small tail in memory when it only needs to know that they were committed, and reads the file otherwise.
// So a slow follower costs nothing and holds nobody up, and there is no hand-over between "old" and "live" in which a
// record could be lost.
//
// # One file
//
// Everything is in store.db: the log of committed records, the retained records, the terms, and for every origin the
// highest reference that it has committed. One transaction changes all of them, so they cannot contradict each other
// after a crash, and a commit costs two fsyncs and not four. Two files (the log first, the retained records derived from
// it) would need a repair at every start, and a log that always reaches back to the oldest record not yet derived.
//
//	meta      format, state (head, count and bytes of retained, floor, time), rules, origin ‖ id -> highest ref and its offset
//	terms     number -> id, first offset, time
//	log       first offset of the segment -> bucket: offset -> record, or all of them as one frozen value
//	retained  topic -> record
//	expiry    time ‖ topic of each retained record that expires
//	gone      topic -> its newest record, which the log does not hold anymore
//	keys      first offset of the generation -> bucket: offset -> keys of a commit
//	keyspace  values, leases (package keyspace)
//	spare     zeros, in a file that has come to half of its limit: pages for what takes something away (spare.go)
//
// Numbers in keys are big endian. A segment ends after 4,096 records or 1 MiB. Offsets are 1, 2, 3, … without gaps, so a
// record missing from the part of the log that Follow needs is noticed. A record's layout is described in record.go, that
// of a frozen segment in frozen.go; each record carries a CRC32C that is checked whenever it is read.
//
// # History
//
// Which topics have a history, and how much of it, is said by rules (Store.SetRetention). The index (index.go) knows of every
// record in the log its topic and where the topic's next one is, so that a history is a chain through the log; trimming it
// moves its beginning. The committer puts old segments in order beside its own work (maintain.go): it freezes them, drops those
// of which neither a history nor the feed needs anything, and merges those of which little is needed. Readers collect the
// places of a page under index.mu and read them from the file afterwards. docs/adr/0013-history-in-one-log.md has the reasons.
//
// # Failure
//
// bbolt goes on after a failed fsync although nobody knows what the disk holds then. The store does not: the first I/O
// error of a commit is answered as unknown to everybody who waits, all later calls fail, and Config.OnFailure is told, so
// that the process ends and is started anew. Opening checks every page that can be reached (check.go) before bbolt maps
// the file for writing: bbolt itself reads a damaged file in a goroutine of its own, where a panic cannot be caught.
//
// Lock order: matcher.mu, then index.mu. queue.mu, Store.mu and index.mu are never held together, and none while calling out or
// while a transaction is open, but for the short looks of the committer, who alone changes what they guard. Store.reading comes
// before all of them and is held for a read transaction.
package storebolt
