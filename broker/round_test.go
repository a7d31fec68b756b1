package broker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
)

// distant is a store that takes a millisecond for a commit, and whose feed and answers come late.
type distant struct {
	*brokertest.Store
	feedLate, answerLate time.Duration
	turn                 sync.Mutex // one commit at a time
	commits              sync.WaitGroup
}

func (s *distant) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	s.commits.Go(func() {
		s.turn.Lock()
		time.Sleep(time.Millisecond)
		var answer func()
		s.Store.Append(batch, func(results []broker.AppendResult, err error) { answer = func() { done(results, err) } })
		s.turn.Unlock()
		time.Sleep(s.answerLate)
		answer()
	})
}

func (s *distant) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	return s.Store.Follow(ctx, from, func(f broker.Feed) error {
		time.Sleep(s.feedLate)
		return on(f)
	})
}

// Whichever comes first, the feed or the answer: who publishes again at once, when a publish is committed, is not taken for one more
// publisher, of whom the next commit would wait in vain.
func TestPublishersAreCountedOnceWhicheverComesFirst(t *testing.T) {
	const publishers, rounds = 32, 20
	for name, late := range map[string]struct{ feed, answer time.Duration }{
		"the feed":   {answer: 300 * time.Microsecond},
		"the answer": {feed: 300 * time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &distant{Store: brokertest.NewStore(), feedLate: late.feed, answerLate: late.answer}
				b := start(t, broker.Options{Store: s})
				t.Cleanup(s.commits.Wait)
				if err := b.WaitReady(t.Context()); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				var all sync.WaitGroup
				for i := range publishers {
					all.Go(func() {
						for range rounds {
							r := broker.PublishRequest{Topic: fmt.Sprint("t.", i), Payload: []byte("x"), Retain: true}
							if _, err := b.Publish(t.Context(), broker.Everybody(), r); err != nil {
								t.Error(err)
								return
							}
							time.Sleep(time.Duration(i) * time.Microsecond) // not all at the same instant
						}
					})
				}
				all.Wait()
				each := time.Since(began) / (rounds + 1) // the first publish makes a batch of its own
				if most := 2 * time.Millisecond; each > most {
					t.Errorf("a round of %d publishers took %v, wanted at most %v", publishers, each, most)
				}
				if n := len(s.Batches()); n > rounds+2 {
					t.Errorf("found %d batches, wanted at most %d", n, rounds+2)
				}
			})
		})
	}
}
