// Package keyspace keeps small values with revisions, and leases, in buckets of a bbolt file that belongs to somebody else: it opens no
// file and begins no transaction.
//
// The owner's one writer calls Space.Begin in a transaction, Change.Do for each Op, Change.Finish, and, when the transaction is durable,
// Space.Apply, which wakes who watches. A change that was rolled back is just forgotten. Readers bring a transaction of their own.
//
//	keys    key -> revision, lease, write, value; with a CRC32C
//	leases  id -> time to live
//	leased  id ‖ key -> nothing, for every key under a lease
//	state   one entry: the last revision, and what is counted
//
// In memory there is only when each lease ends. To renew one costs no commit, and a start renews them all.
//
// Lock order: Space.mu is held alone.
package keyspace
