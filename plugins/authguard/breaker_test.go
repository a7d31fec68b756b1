package authguard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// G-19: many who show the same token are one question.
func TestTheSameCredentialsAreAskedAboutOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: func(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
			time.Sleep(time.Second)
			return lets(ctx, c)
		}}
		g := New(p, Options{})
		var group sync.WaitGroup
		for range 500 {
			group.Go(func() {
				if id, err := loginAs(t, g, "ann"); err != nil || id.User != "ann" {
					t.Errorf("got %v and %v", id, err)
				}
			})
		}
		group.Wait()
		if n := p.calls.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		if _, err := loginAs(t, g, "ann"); err != nil || p.calls.Load() != 2 {
			t.Errorf("a later question was not asked: %v", err)
		}
	})
}

func TestAQuestionGoesOnWhenWhoAskedFirstIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: func(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
			select {
			case <-time.After(time.Second):
				return lets(ctx, c)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		g := New(p, Options{})
		first, leave := context.WithTimeout(t.Context(), deadline)
		var group sync.WaitGroup
		group.Go(func() { _, _ = g.Authenticate(first, broker.Credentials{Token: "ann"}) })
		synctest.Wait()
		group.Go(func() {
			if id, err := loginAs(t, g, "ann"); err != nil || id.User != "ann" {
				t.Errorf("got %v and %v", id, err)
			}
		})
		synctest.Wait()
		leave()
		group.Wait()
	})
}

// G-19: no more than so many calls at a time, whoever comes.
func TestCallsAtATimeAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: func(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
			time.Sleep(10 * time.Millisecond)
			return lets(ctx, c)
		}}
		g := New(p, Options{Concurrency: 8})
		var group sync.WaitGroup
		for i := range 500 {
			group.Go(func() {
				if _, err := loginAs(t, g, fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := p.most; n != 8 {
			t.Errorf("%d calls at a time, wanted 8", n)
		}
	})
}

// A plugin that hangs costs one deadline, not one a client; and it is back soon after it is.
func TestAPluginThatHangsCostsOneDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: hangs}
		g := New(p, Options{Concurrency: 4})
		began := time.Now()
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				if id, err := loginAs(t, g, fmt.Sprint(i)); id != nil || err == nil {
					t.Errorf("let in as %v", id)
				}
			})
		}
		group.Wait()
		if took := time.Since(began); took != deadline {
			t.Errorf("all of them took %v, wanted one deadline", took)
		}
		if n := p.calls.Load(); n != 4 {
			t.Errorf("%d calls, wanted those that there is room for", n)
		}
		if !g.Status().Hangs {
			t.Error("the status does not say that it hangs")
		}
		began = time.Now()
		for i := range 100 {
			if _, err := loginAs(t, g, fmt.Sprint(i)); !errors.Is(err, ErrHangs) {
				t.Errorf("got %v, wanted ErrHangs", err)
			}
		}
		if took := time.Since(began); took != 0 || p.calls.Load() != 4 {
			t.Errorf("who comes meanwhile waits %v, and makes %d calls", took, p.calls.Load()-4)
		}
		time.Sleep(500 * time.Millisecond)
		p.set(lets)
		if id, err := loginAs(t, g, "ann"); err != nil || id.User != "ann" || g.Status().Hangs {
			t.Errorf("when it is back: %v and %v", id, err)
		}
	})
}

func TestWhileItHangsOneAtATimeFindsOutWhetherItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: hangs}
		g := New(p, Options{})
		if _, err := loginAs(t, g, "first"); err == nil {
			t.Fatal("let in")
		}
		for round := range 3 {
			time.Sleep(500 * time.Millisecond)
			before := p.calls.Load()
			var group sync.WaitGroup
			for i := range 50 {
				group.Go(func() { _, _ = loginAs(t, g, fmt.Sprint(i)) })
			}
			group.Wait()
			if n := p.calls.Load() - before; n != 1 {
				t.Errorf("round %d: %d calls at once, wanted 1", round, n)
			}
		}
	})
}

// One slow answer among good ones is that client's bad luck.
func TestOneSlowCallAmongOthersIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: func(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
			if c.Token == "slow" {
				return hangs(ctx, c)
			}
			return lets(ctx, c)
		}}
		g := New(p, Options{})
		var group sync.WaitGroup
		group.Go(func() { _, _ = loginAs(t, g, "slow") })
		time.Sleep(time.Second)
		if _, err := loginAs(t, g, "ann"); err != nil {
			t.Error(err)
		}
		group.Wait()
		if _, err := loginAs(t, g, "bob"); err != nil || g.Status().Hangs {
			t.Errorf("everybody is refused because of one: %v", err)
		}
	})
}

// A plugin that is away, or refuses, or talks nonsense has answered: it is asked as soon as it is back.
func TestWhatFailsAtOnceIsNoHang(t *testing.T) {
	p := &fake{answer: away}
	g := New(p, Options{})
	for range 10 {
		_, _ = loginAs(t, g, "ann")
	}
	if n := p.calls.Load(); n != 10 || g.Status().Hangs {
		t.Errorf("asked %d times of 10", n)
	}
}

// Rights and logins may hang apart: each has its own.
func TestRightsThatHangLeaveLoginsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: hangs}
		g := New(p, Options{})
		ask := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			decisions, err := g.Authorize(ctx, broker.Principal{}, make([]broker.Question, 1))
			if decisions != nil {
				t.Errorf("decided %v", decisions)
			}
			return err
		}
		if err := ask(); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if err := ask(); !errors.Is(err, ErrHangs) {
			t.Errorf("got %v, wanted ErrHangs", err)
		}
		p.set(lets)
		if _, err := loginAs(t, g, "ann"); err != nil {
			t.Errorf("a login: %v", err)
		}
	})
}

// What stands in is there at once while the plugin hangs.
func TestWhileItHangsTheLastGoodAnswerIsThereAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: lets}
		g := New(p, Options{LastKnownGood: time.Hour})
		for i := range 100 {
			if _, err := loginAs(t, g, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		p.set(hangs)
		began := time.Now()
		for i := range 100 {
			if id, err := loginAs(t, g, fmt.Sprint(i)); err != nil || id.User != fmt.Sprint(i) {
				t.Errorf("%d: %v and %v", i, id, err)
			}
		}
		if took := time.Since(began); took != deadline {
			t.Errorf("took %v, wanted one deadline", took)
		}
	})
}
