// Package store is the contract between the broker and what keeps its messages: package broker calls a Store, plugins implement one. Everything
// in it goes by the same names in package broker.
package store

import (
	"context"
	"errors"

	"github.com/carillon-mq/carillon/protocol"
)

// Store keeps what must outlive the broker. Implementations are called concurrently.
//
// The store has one sequence of offsets (1, 2, 3, …, gaps allowed) over everything it commits. Every method fails at once with
// an error when the store is away; the broker tries again.
type Store interface {
	// LoadRetained calls page with every current retained record, in any order, and returns an offset H such that
	// LoadRetained followed by Follow(After: H) misses nothing. Pages are bounded (≤ 256 records or 1 MiB) and must not be kept.
	LoadRetained(ctx context.Context, page func([]Record) error) (head uint64, err error)

	// Follow is the feed of committed records with an offset above from.After, strictly increasing, whoever appended them.
	// First comes what is already committed, then one Feed with CaughtUp set, then each commit as it happens. It blocks
	// until ctx ends, on fails, or the store goes away, and returns that error. If records after from.After are no longer
	// held it returns ErrTrimmed.
	Follow(ctx context.Context, from FollowFrom, on func(Feed) error) error

	// Append commits batch, in order, and calls done once with one result per record after the commit is durable, or with
	// an error when the outcome is unknown. Batches are committed in the order of the calls. It does not wait for the
	// commit. batch must not be changed until done was called; done must not block. A record whose (Origin, Ref) was
	// committed before is not committed again and is answered with Duplicate. Refs of one origin arrive in increasing order.
	Append(batch []Record, done func([]AppendResult, error))
}

// FollowFrom says where a feed starts.
type FollowFrom struct {
	After uint64
	// Origin names this broker run: records appended by it may be sent Elided (without topic, payload and the rest),
	// because the broker still holds them.
	Origin protocol.RunID
}

// Feed is one step of a committed feed.
type Feed struct {
	Records  []Record
	CaughtUp bool           // everything committed when Follow began has been sent
	Term     protocol.RunID // the store's present term (log.md P2); set with CaughtUp
	Head     uint64         // highest committed offset; set with CaughtUp
}

// Record is one message as the store keeps it.
type Record struct {
	Offset uint64         // assigned by the store; 0 in Append
	Origin protocol.RunID // the broker run that appended it
	Ref    uint64         // that run's own number for it, increasing
	Elided bool           // only Offset, Origin and Ref are set

	Topic       string
	Retain      bool // replaces the topic's retained value; with an empty payload it clears it
	Payload     []byte
	ContentType string
	Headers     map[string]string
	Time        int64 // Unix milliseconds at which the broker accepted it
	User        string

	// Exclude is the origin whose sessions are not sent it ([PUB-14]); "" is none. Opaque to the store.
	Exclude string
	// Expires is when the record ends, in Unix milliseconds; 0 is never. PowerTTL.
	Expires int64
	// Key names the publish, 16 to 32 bytes, and Digest stands for its content, 8 to 32. In Append only. PowerKeys.
	Key, Digest []byte
}

// AppendResult is the outcome of one appended record: an offset, or a refusal.
type AppendResult struct {
	Ref       uint64 // the record's
	Offset    uint64
	Duplicate bool            // was committed before, at Offset if still known
	Repeats   bool            // with Duplicate: another record with its Key and Digest is at Offset; the feed never brings this one
	Err       *protocol.Error // refused (quota, too_large, …); nothing was committed
}

// ErrMalformed is wrapped by errors about an answer of a plugin that breaks its contract. Nothing of such an answer counts.
var ErrMalformed = errors.New("the plugin's answer breaks the contract")

// ErrTrimmed is returned by Store.Follow when records after the asked offset are no longer held.
var ErrTrimmed = errors.New("records after the offset are no longer held")
