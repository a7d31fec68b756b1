package wire

import (
	"context"
	"sync"

	"github.com/carillon-mq/carillon/broker"
)

// maxUnanswered is how many batches a store is given before one of them has been answered.
const maxUnanswered = 256

// outcome is what a Store says about one batch.
type outcome struct {
	batch   uint64
	records int
	results []broker.AppendResult
	settled bool
}

// outcomes are the batches of a stream that are not answered, in order. Who answers is woken when the first of them can be, and not when
// one comes.
type outcomes struct {
	room  chan struct{} // as many as are expected
	ready chan struct{} // the first one is settled, or there are no more

	mu    sync.Mutex
	queue []*outcome
	ended bool // no more come
}

func newOutcomes() *outcomes {
	return &outcomes{room: make(chan struct{}, maxUnanswered), ready: make(chan struct{}, 1)}
}

// expect puts o behind the others, when there is room for it.
func (a *outcomes) expect(ctx context.Context, o *outcome) error {
	select {
	case a.room <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = append(a.queue, o)
	return nil
}

// settle notes what the Store says about o. A second word changes nothing.
func (a *outcomes) settle(o *outcome, results []broker.AppendResult) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o.settled {
		return
	}
	o.results, o.settled = results, true
	if len(a.queue) > 0 && a.queue[0] == o {
		a.wake()
	}
}

// end says that no more will be expected.
func (a *outcomes) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	a.wake()
}

func (a *outcomes) wake() {
	select {
	case a.ready <- struct{}{}:
	default:
	}
}

// next takes the first one when it is settled. It returns nil when there are no more, and why ctx has ended when it has.
func (a *outcomes) next(ctx context.Context) (*outcome, error) {
	for {
		o, ended := a.take()
		switch {
		case o != nil:
			<-a.room
			return o, nil
		case ended:
			return nil, nil
		}
		select {
		case <-a.ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (a *outcomes) take() (o *outcome, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case len(a.queue) == 0:
		return nil, a.ended
	case !a.queue[0].settled:
		return nil, false
	}
	o = a.queue[0]
	a.queue[0] = nil
	a.queue = a.queue[1:]
	return o, false
}
