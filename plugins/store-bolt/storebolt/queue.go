package storebolt

import (
	"sync"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/store-bolt/internal/keyspace"
)

// request is one call of Append. done is called exactly once.
type request struct {
	batch   []broker.Record
	bytes   int
	refused bool                    // there was no room for it in the queue: batch is answered and not committed
	rules   *[]broker.RetentionRule // to be set in front of batch; nil: they stay
	op      *keyspace.Op            // to be done with the keyspace; nil: nothing
	done    func([]broker.AppendResult, error)
}

// queue holds the requests that wait for the committer, in order.
type queue struct {
	mu       sync.Mutex
	wake     sync.Cond // on mu: requests or closed has changed
	requests []request
	bytes    int
	closed   bool
}

func (q *queue) init() { q.wake.L = &q.mu }

// put reports false when the queue is closed; r is not taken then.
func (q *queue) put(r request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if q.bytes+r.bytes > maxQueueBytes && q.bytes > 0 {
		r.refused, r.bytes = true, 0
	}
	q.bytes += r.bytes
	q.requests = append(q.requests, r)
	q.wake.Signal()
	return true
}

// take waits for requests and appends what fits into one commit to group: whole requests, at least one. It reports false
// when the queue is closed and empty.
func (q *queue) take(group []request) ([]request, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.requests) == 0 {
		if q.closed {
			return group, false
		}
		q.wake.Wait()
	}
	records, bytes, n := 0, 0, 0
	for _, r := range q.requests {
		records += len(r.batch)
		bytes += r.bytes
		if n > 0 && (records > maxCommitRecords || bytes > maxCommitBytes) {
			break
		}
		q.bytes -= r.bytes
		n++
	}
	group = append(group, q.requests[:n]...)
	rest := copy(q.requests, q.requests[n:])
	clear(q.requests[rest:])
	q.requests = q.requests[:rest]
	return group, true
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Broadcast()
}
