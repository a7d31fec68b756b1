package commit

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/broker/store"
	"github.com/carillon-mq/carillon/protocol"
)

// Publication is a publish on its way: encoded, waiting for its place in the log.
type Publication struct {
	ring.Message
	Record    *store.Record // what the store is to commit; nil: nothing
	Publisher Publisher

	deadline time.Time

	// Guarded by Committer.mu, but for answered.
	ref      uint64
	sent     bool // the store may have it
	settled  bool // came back, was refused or withdrawn
	answered atomic.Bool
}

// Publisher is told what becomes of a publication.
type Publisher interface {
	// Placed says that it has its place in the log. Withdrawn says that it has none and never will have. Both are called with the
	// committer's lock held.
	Placed()
	Withdrawn()
	// Acknowledge has it answered, now or later: it has its place in the log, or, if Seq is 0, the log has ended.
	Acknowledge()
	// Answered takes the answer, once.
	Answered(ack protocol.Published, err *protocol.Error)
}

// Answer answers the publication. Only the first call counts.
func (p *Publication) Answer(ack protocol.Published, err *protocol.Error) {
	if p.answered.CompareAndSwap(false, true) {
		p.Publisher.Answered(ack, err)
	}
}

// cost is about what p holds while it waits: its packet and, as the record of it, everything once more.
func (p *Publication) cost() int64 {
	n := int64(cap(p.Buf)) + publicationOverhead
	if p.Record != nil {
		n += int64(cap(p.Buf))
	}
	return n
}

const publicationOverhead = int64(unsafe.Sizeof(Publication{})+unsafe.Sizeof(store.Record{})) + publisherRoom

// publisherRoom is about what a Publisher keeps of it.
const publisherRoom = 64

// What publishers are told.
var (
	ErrUnknown    = protocol.Errorf(protocol.CodeStoreUnavailable, "the store did not confirm in time; the outcome is unknown").WithRetryAfter(time.Second)
	ErrNotKept    = protocol.Errorf(protocol.CodeStoreUnavailable, "the store is away; the message was not kept and not delivered").WithRetryAfter(time.Second)
	ErrSealed     = protocol.Errorf(protocol.CodeGoingAway, "the broker is going away")
	ErrPassedOver = protocol.Errorf(protocol.CodeStoreUnavailable, "the store has committed the message without showing it; the outcome is unknown")
	ErrNoTTL      = protocol.Errorf(protocol.CodeUnsupported, "the store cannot see to the end of a message's lifetime").
			WithHint("Publish without ttl, or use a store plugin that has the power ttl.")
)
