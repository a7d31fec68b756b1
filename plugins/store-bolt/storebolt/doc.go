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
//	meta      format, state (head, count and bytes of retained), origin ‖ id -> highest ref and its offset
//	terms     number -> id, first offset, time
//	log       first offset of the segment -> bucket: offset -> record
//	retained  topic -> record
//
// Numbers in keys are big endian. A segment ends after 4,096 records or a sixteenth of Config.KeepBytes; the log is
// trimmed by dropping whole old segments. Offsets are 1, 2, 3, … without gaps, so a record missing from the middle is
// noticed. A record's layout is described in record.go; each one carries a CRC32C that is checked whenever it is read.
//
// # Failure
//
// bbolt goes on after a failed fsync although nobody knows what the disk holds then. The store does not: the first I/O
// error of a commit is answered as unknown to everybody who waits, all later calls fail, and Config.OnFailure is told, so
// that the process ends and is started anew. Opening checks every page that can be reached (check.go) before bbolt maps
// the file for writing: bbolt itself reads a damaged file in a goroutine of its own, where a panic cannot be caught.
//
// Lock order: queue.mu and Store.mu are never held together, and neither while calling out or while a transaction is open.
package storebolt
