package storebolt

import (
	"sync/atomic"

	"github.com/carillon-mq/carillon/protocol"
)

// room is how much of the file's limit is used. Near the limit only what takes something away is admitted, so that there are
// pages left to write that with; see spare for those that have to lie in a row.
type room struct {
	limit  int64
	used   atomic.Int64 // as of the last commit
	pages  atomic.Int64 // bytes up to the last page that was ever used
	unused atomic.Int64 // of these, what is free
}

// reserve is what is left for clears, drops, and the transaction that finds the file full.
func (r *room) reserve() int64 { return min(r.limit/16, 32<<20) }

// measure takes the size up to the last page that was ever used, and what of it is free.
func (r *room) measure(size, free int64) {
	r.pages.Store(size)
	r.unused.Store(free)
	r.used.Store(size - free)
}

func (r *room) full() bool { return r.used.Load() > r.limit-r.reserve() }

func (r *room) refusal() *protocol.Error {
	return protocol.Errorf(protocol.CodeQuota, "the store's file has reached its limit of %d bytes", r.limit)
}
