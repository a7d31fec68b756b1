package floor

import (
	"sync"
	"sync/atomic"
)

// entry is a message in the log. packet is shared by all who are sent it.
type entry struct {
	topic  string
	packet []byte
}

// ringEntries is how many messages the log holds, a power of two.
const ringEntries = 1 << 16

// ring is the log: the newest messages, numbered from 0.
type ring struct {
	mu      sync.Mutex
	entries []entry
	end     atomic.Uint64 // the number of the next message
}

func (r *ring) append(e entry) {
	r.mu.Lock()
	n := r.end.Load()
	r.entries[n%ringEntries] = e
	r.end.Store(n + 1)
	r.mu.Unlock()
}

// read appends the messages from number from to number to, and reports whether the log still has them.
func (r *ring) read(dst []entry, from, to uint64) ([]entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end.Load()-from > ringEntries {
		return dst, false
	}
	for ; from < to; from++ {
		dst = append(dst, r.entries[from%ringEntries])
	}
	return dst, true
}
