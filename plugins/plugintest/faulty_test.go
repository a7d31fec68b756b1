package plugintest_test

import (
	"context"
	"slices"
	"sync"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/store-bolt/storebolt"
)

// faulty is a good store with some of its answers or questions changed.
type faulty struct {
	*storebolt.Store
	onFollow   func(*broker.FollowFrom)
	onFeed     func(broker.Feed) broker.Feed
	onAppend   func(*broker.Record)
	onResult   func(*broker.AppendResult)
	onPage     func([]broker.Record) []broker.Record
	headOffset uint64
}

func (f *faulty) LoadRetained(ctx context.Context, page func([]broker.Record) error) (uint64, error) {
	head, err := f.Store.LoadRetained(ctx, func(records []broker.Record) error {
		if f.onPage != nil {
			records = f.onPage(records)
		}
		return page(records)
	})
	return head + f.headOffset, err
}

func (f *faulty) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	if f.onFollow != nil {
		f.onFollow(&from)
	}
	return f.Store.Follow(ctx, from, func(feed broker.Feed) error {
		if f.onFeed != nil {
			feed = f.onFeed(feed)
		}
		return on(feed)
	})
}

func (f *faulty) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	batch = slices.Clone(batch)
	if f.onAppend != nil {
		for i := range batch {
			f.onAppend(&batch[i])
		}
	}
	f.Store.Append(batch, func(results []broker.AppendResult, err error) {
		if f.onResult != nil {
			for i := range results {
				f.onResult(&results[i])
			}
		}
		done(results, err)
	})
}

// early acknowledges a batch at once, with the offsets that it will get, and commits it when the tenth has come.
type early struct {
	faulty
	mu     sync.Mutex
	held   [][]broker.Record
	offset uint64
}

func (e *early) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.offset = max(e.offset, e.Stats().Head)
	results := make([]broker.AppendResult, len(batch))
	for i := range batch {
		e.offset++
		results[i] = broker.AppendResult{Ref: batch[i].Ref, Offset: e.offset}
	}
	e.held = append(e.held, slices.Clone(batch))
	if len(e.held) == 10 {
		e.commitLocked()
	}
	done(results, nil)
}

func (e *early) commitLocked() {
	for _, batch := range e.held {
		e.Store.Append(batch, func([]broker.AppendResult, error) {})
	}
	e.held = nil
}

// Follow and LoadRetained commit what is held, so that only a kill can show that it was not.
func (e *early) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	e.mu.Lock()
	e.commitLocked()
	e.mu.Unlock()
	return e.Store.Follow(ctx, from, on)
}

// overtaking commits every second batch after the one that follows it.
type overtaking struct {
	faulty
	mu   sync.Mutex
	held func()
}

func (o *overtaking) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch = slices.Clone(batch)
	if o.held == nil && len(batch) == 4 && batch[0].Retain { // many of these come at once
		for i := range batch {
			batch[i].Origin[0]++ // the store underneath would take it for a repeat
		}
		o.held = func() { o.Store.Append(batch, done) }
		return
	}
	o.Store.Append(batch, done)
	if o.held != nil {
		o.held()
		o.held = nil
	}
}
