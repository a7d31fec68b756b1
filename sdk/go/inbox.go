package carillon

import (
	"context"
	"sync"
	"time"
)

// patience is how long, in all, the read loop waits for a full inbox before it parks the subscription.
const patience = 100 * time.Millisecond

// inbox holds what has come for a subscription until the application takes it. It is bounded: when a message does not fit, the
// subscription is parked, which means it leaves the live stream and comes back, at its position, once the application has caught
// up. What the broker's log holds is then the buffer, and no other subscription waits.
type inbox struct {
	maxCount, maxBytes int

	mu       sync.Mutex
	events   []Event // events[:head] have been taken
	head     int
	bytes    int
	parked   bool
	patience time.Duration // left until the inbox has been drained again
	err      error         // the end, after the events
	over     chan struct{} // closed with err
	filled   chan struct{} // something to take
	taken    chan struct{} // something has been taken
}

func newInbox(maxCount, maxBytes int) *inbox {
	return &inbox{
		maxCount: maxCount, maxBytes: maxBytes, patience: patience,
		over: make(chan struct{}), filled: make(chan struct{}, 1), taken: make(chan struct{}, 1),
	}
}

type offer uint8

const (
	offerTaken offer = iota
	offerWait        // full: try again after wait
	offerParked
)

// offer adds e if there is room, or if force is set. Without room it asks to wait while there is patience left, then it parks.
// What comes after the end is swallowed.
func (in *inbox) offer(e Event, force bool) offer {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		return offerTaken
	}
	n := size(e)
	count := len(in.events) - in.head
	if !force && count > 0 && (count >= in.maxCount || in.bytes+n > in.maxBytes) {
		if in.patience > 0 {
			return offerWait
		}
		in.parked = true
		return offerParked
	}
	in.events = append(in.events, e)
	in.bytes += n
	signal(in.filled)
	return offerTaken
}

// wait waits until something has been taken, the inbox is over, or the patience is at its end.
func (in *inbox) wait(ctx context.Context) {
	in.mu.Lock()
	left := in.patience
	in.mu.Unlock()
	start := time.Now()
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-in.taken:
	case <-in.over:
	case <-timer.C:
	case <-ctx.Done():
	}
	in.mu.Lock()
	in.patience = max(0, in.patience-time.Since(start))
	in.mu.Unlock()
}

// take waits for the next event. Its error is the end of the inbox, or that of ctx. unpark says that a parked subscription may go on.
func (in *inbox) take(ctx context.Context) (e Event, unpark bool, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		if e, unpark, ok, err := in.tryTake(); ok || err != nil {
			return e, unpark, err
		}
		select {
		case <-in.filled:
		case <-in.over:
		case <-ctx.Done():
		}
	}
}

func (in *inbox) tryTake() (e Event, unpark, ok bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.head == len(in.events) {
		return nil, false, false, in.err
	}
	e = in.events[in.head]
	in.events[in.head] = nil
	in.head++
	in.bytes -= size(e)
	in.compact()
	left := len(in.events) - in.head
	if 2*left <= in.maxCount && 2*in.bytes <= in.maxBytes {
		in.patience = patience
	}
	if in.parked && 4*left <= in.maxCount && 4*in.bytes <= in.maxBytes {
		in.parked, unpark = false, true
	}
	signal(in.taken)
	return e, unpark, true, nil
}

// compact gives back the room of what has been taken, at a cost that is constant on average.
func (in *inbox) compact() {
	switch left := len(in.events) - in.head; {
	case left == 0 && cap(in.events) > 2*in.maxCount:
		in.events, in.head = nil, 0 // after a large snapshot
	case left == 0:
		in.events, in.head = in.events[:0], 0
	case in.head >= 1024 && in.head >= left:
		copy(in.events, in.events[in.head:])
		clear(in.events[left:])
		in.events, in.head = in.events[:left], 0
	}
}

// finish ends the inbox with err. drop also throws away what has not been taken.
func (in *inbox) finish(err error, drop bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if drop {
		in.events, in.head, in.bytes = nil, 0, 0
	}
	if in.err == nil {
		in.err = err
		close(in.over)
	}
}

func (in *inbox) isParked() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.parked
}

// signal leaves a note in c unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
