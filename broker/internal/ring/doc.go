// Package ring is the log of recent messages, in memory: an append-only list that gives up its oldest part when it holds more bytes than
// it may (docs/log.md, rules A and K).
//
// Who appends gives a Message and gets its Entry; each entry has the next sequence number. Readers have a place of their own and read
// without a lock: a reader that follows the end takes Place.Next, one that is behind gathers what its Matcher wants into a Stretch with
// Ring.Read, which says when the place is no longer held. Whole chunks in which no topic is wanted are passed over by
// their sketch; in the others the entries of a topic are found by its hash.
//
// With a store the log is also a window on what that has committed: every entry knows the store's offset up to which the log is complete
// there (its watermark), so a reader of the store finds with Ring.Join where to go on in memory. Retained is the newest retained message of
// each topic, changed in step with the log.
//
// A planned restart writes all of it down (Ring.Seal, Ring.WriteEntries) and the next run reads it back.
package ring
