//go:build unix

package host

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

type appended struct {
	results []broker.AppendResult
	err     error
}

func appendOne(s *Store, topic string) chan appended {
	answer := make(chan appended, 1)
	s.Append([]broker.Record{{Topic: topic, Retain: true, Payload: []byte("x"), Ref: 1}}, func(r []broker.AppendResult, err error) { answer <- appended{r, err} })
	return answer
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	panic("not reached")
}

// follow follows from the start and sends what comes, then the error.
func follow(t *testing.T, s *Store) (<-chan broker.Feed, <-chan error) {
	feeds, ended := make(chan broker.Feed, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- s.Follow(ctx, broker.FollowFrom{}, func(f broker.Feed) error { feeds <- f; return nil })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return feeds, ended
}

func TestAStoreAppendsFollowsAndLoadsAcrossItsRestart(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	s := startStore(t, h, bundled("s", "store"))
	pid := s.Status().PID
	feeds, ended := follow(t, s)
	if f := receive(t, feeds); !f.CaughtUp {
		t.Errorf("got %+v, wanted to be caught up", f)
	}
	if a := receive(t, appendOne(s, "a")); a.err != nil || a.results[0].Offset != 1 || a.results[0].Ref != 1 {
		t.Errorf("append: %+v", a)
	}
	if f := receive(t, feeds); len(f.Records) != 1 || f.Records[0].Topic != "a" {
		t.Errorf("feed: %+v", f)
	}
	var loaded int
	if head, err := s.LoadRetained(t.Context(), func(page []broker.Record) error { loaded += len(page); return nil }); head != 1 || loaded != 1 || err != nil {
		t.Errorf("loaded %d records, head %d, %v", loaded, head, err)
	}

	outstanding := appendOne(s, "never")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if a := receive(t, outstanding); !errors.Is(a.err, ErrUnavailable) {
		t.Errorf("outstanding append: %+v", a)
	}
	if err := receive(t, ended); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the feed ended with %v", err)
	}
	until(t, h, "s", restarted(pid))
	if a := receive(t, appendOne(s, "b")); a.err != nil || a.results[0].Offset != 1 {
		t.Errorf("append after the restart: %+v", a)
	}
	again, _ := follow(t, s)
	if f := receive(t, again); len(f.Records) != 1 || f.Records[0].Topic != "b" {
		t.Errorf("feed after the restart: %+v", f)
	}
}

func TestAStoreThatIsAwayFailsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	s, err := h.Store(bundled("s", "say-and-hang", ""))
	if err != nil {
		t.Fatal(err)
	}
	if a := receive(t, appendOne(s, "a")); !errors.Is(a.err, ErrUnavailable) {
		t.Errorf("append: %+v", a)
	}
	if err := s.Follow(t.Context(), broker.FollowFrom{}, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("follow: %v", err)
	}
	if _, err := s.LoadRetained(t.Context(), nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("load: %v", err)
	}
}
