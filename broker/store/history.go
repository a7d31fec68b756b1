package store

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// Power is something that a Store may be able to do beside what every Store does.
type Power string

// The optional powers of a Store, each with the interface or the fields that it stands for.
const (
	PowerTerms      Power = "terms"      // TermLister
	PowerHistory    Power = "history"    // HistoryStore
	PowerTTL        Power = "ttl"        // Record.Expires
	PowerKeys       Power = "keys"       // Record.Key, Record.Digest, AppendResult.Repeats
	PowerStatistics Power = "statistics" // StatisticsReader
	PowerBackup     Power = "backup"     // BackupMaker
)

// ErrNoPower is returned by a call that needs a power which the store, or the Authenticator, does not have.
var ErrNoPower = errors.New("there is no such power")

// PoweredStore is a Store whose powers are known only when it is there: a plugin announces them each time it starts. A Store
// that is no PoweredStore has the powers whose interfaces it implements. Has is false while the store is away.
type PoweredStore interface {
	Store
	Has(p Power) bool
}

// Has reports whether s, as it is now, has p.
func Has(s Store, p Power) bool {
	if powered, ok := s.(PoweredStore); ok {
		return powered.Has(p)
	}
	var ok bool
	switch p {
	case PowerTerms:
		_, ok = s.(TermLister)
	case PowerHistory:
		_, ok = s.(HistoryStore)
	case PowerStatistics:
		_, ok = s.(StatisticsReader)
	case PowerBackup:
		_, ok = s.(BackupMaker)
	case PowerKeyspace:
		_, ok = s.(KeyspaceStore)
	case PowerTTL, PowerKeys: // fields of a record: nothing to tell it by
	}
	return ok
}

// TermLister is a Store that knows its terms.
type TermLister interface {
	// ListTerms is every term still known, oldest first, the present one last (log.md P2).
	ListTerms(ctx context.Context) ([]Term, error)
}

// Term is one time that a store was open for writing. Offsets from First on, up to the next term's First, are of it.
type Term struct {
	ID      protocol.RunID
	First   uint64
	Started time.Time
}

// HistoryStore is a Store that keeps the history of topics by rules.
type HistoryStore interface {
	// SetRetention says which topics have a history and how much of it is kept; the first rule that matches decides. It is
	// durable. It has to be called before Append each time the store has come back; until then the rules of last time hold.
	SetRetention(ctx context.Context, rules []RetentionRule) error

	// ReadHistory is one page: at most q.Limit records and about 1 MiB. Records are the caller's.
	ReadHistory(ctx context.Context, q HistoryQuery) (HistoryPage, error)
}

// RetentionRule says what is kept of each topic that Match matches. A record goes when it is beyond any of the bounds; 0 is
// no bound. A rule without any gives its topics no history.
type RetentionRule struct {
	Match string // a filter
	Count uint64 // newest records
	Bytes uint64 // newest bytes, as the store counts them
	Age   time.Duration
}

// Keeps reports whether the rule gives its topics a history.
func (r RetentionRule) Keeps() bool { return r.Count > 0 || r.Bytes > 0 || r.Age > 0 }

// Bounds of HistoryStore.
const (
	MaxRetentionRules = 1000
	MaxHistoryFilters = 128
	MaxHistoryRecords = 1024 // of one page
)

// HistoryQuery asks for the records above After and up to Through (0: the head) of topics that any of Filters matches.
type HistoryQuery struct {
	Filters []string // 1 to MaxHistoryFilters
	After   uint64
	Through uint64
	Last    int // if not 0: only the newest so many of these
	Limit   int // records of the page; 0 is MaxHistoryRecords
}

// HistoryPage is the answer to a HistoryQuery. A record beyond its topic's bounds, or expired, is never in it.
type HistoryPage struct {
	Records []Record // in increasing order of offsets
	After   uint64   // they come after it: the query's, or where Last begins
	Through uint64   // everything up to here has been looked at; the next page begins after it
	Done    bool     // Through is what was asked for

	// TrimmedThrough is the highest offset of any record of a matching topic that is not held anymore, and Floor the same for
	// all topics that the store has forgotten: from a position below either, records are missing (log.md H1).
	TrimmedThrough uint64
	Floor          uint64

	Head    uint64   // highest committed offset
	Damaged []uint64 // offsets between After and Through whose records can't be read
}

// Lost is the offset up to which something of what was asked for is missing; 0: nothing is.
func (h *HistoryPage) Lost() uint64 {
	lost := max(h.TrimmedThrough, h.Floor)
	if n := len(h.Damaged); n > 0 {
		lost = max(lost, h.Damaged[n-1])
	}
	return lost
}

// StatisticsReader is a Store that tells its figures.
type StatisticsReader interface {
	ReadStatistics(ctx context.Context) (Statistics, error)
}

// Statistics are figures of a store; one that it does not have is 0.
type Statistics struct {
	Head   uint64 // highest committed offset
	Oldest uint64 // lowest offset that Follow can begin at
	Floor  uint64 // as in HistoryPage

	Records        uint64
	RecordBytes    uint64
	HistoryRecords uint64 // of Records, those that a history has
	HistoryBytes   uint64
	HistoryTopics  uint64
	RetainedTopics uint64
	RetainedBytes  uint64
	Keys           uint64
	Terms          uint64

	FileBytes    uint64
	FreeBytes    uint64 // of FileBytes, what can be used again
	MaxFileBytes uint64

	KeyspaceKeys  uint64
	KeyspaceBytes uint64 // of keys and values
	Leases        uint64

	Commits          uint64 // of this process
	CommittedRecords uint64
	CommitTime       time.Duration // in all
	CommitBuckets    []uint64      // commits that took at most 1, 2, 4, … ms; the last one: longer than all others
}

// BackupMaker is a Store that can be copied while it works.
type BackupMaker interface {
	// Backup writes a file that the store's plugin can be started with: everything committed up to head, which is at or after
	// the call. bytesPerSecond is about how fast; 0 is as fast as possible.
	Backup(ctx context.Context, w io.Writer, bytesPerSecond int64) (head uint64, err error)
}
