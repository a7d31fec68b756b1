package broker

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/ring"
)

// receipt counts to how many live subscriptions a publish was handed, and acknowledges it when every shard has passed it or
// after a second without the count (log.md U1).
type receipt struct {
	ring.Extra // of the message
	count      atomic.Int64
	left       atomic.Int32 // shards that have not passed it
	told       atomic.Bool
	b          *Broker
	p          *publication // until it is told: the log keeps the receipt, and nothing else of who has published
	timer      *time.Timer
}

const receiptWait = time.Second

// addReceipt has p acknowledged by a receipt.
func addReceipt(b *Broker, p *publication) {
	r := &receipt{b: b, p: p}
	if p.Extra != nil {
		r.Extra = *p.Extra
	}
	r.Receipt, p.Extra = r, &r.Extra
	r.left.Store(int32(len(b.shards)))
	r.timer = time.AfterFunc(math.MaxInt64, func() { r.tell(-1) })
	r.timer.Stop()
}

// Appended begins the second. It is not called before the publish has its place; told is told, even if the shards were faster.
func (r *receipt) Appended() { r.timer.Reset(receiptWait) }

// Received is called for each live subscription that the message is handed to.
func (r *receipt) Received() { r.count.Add(1) }

// Passed is called by each shard once, after it has counted its own.
func (r *receipt) Passed() {
	if r.left.Add(-1) == 0 {
		r.tell(r.count.Load())
	}
}

// tell acknowledges with n receivers, -1 for unknown. Only the first call counts.
func (r *receipt) tell(n int64) {
	if !r.told.CompareAndSwap(false, true) {
		return
	}
	r.timer.Stop()
	p := r.p
	r.p = nil
	ack := p.published()
	ack.Receivers = n
	p.Answer(ack, nil)
	r.b.flushSoon()
}

// awaitsReceipt reports whether a receipt brings p's answer.
func (p *publication) awaitsReceipt() bool { return p.Extra != nil && p.Extra.Receipt != nil }
