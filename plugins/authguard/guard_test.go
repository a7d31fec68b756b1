package authguard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// fake is a plugin that does what it is told to: answer is called for each Authenticate and Authorize.
type fake struct {
	mu     sync.Mutex
	answer func(context.Context, broker.Credentials) (*broker.Identity, error)

	calls, now atomic.Int64
	most       int64 // of now; guarded by mu
}

func (f *fake) set(answer func(context.Context, broker.Credentials) (*broker.Identity, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fake) Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	f.calls.Add(1)
	n := f.now.Add(1)
	defer f.now.Add(-1)
	f.mu.Lock()
	f.most = max(f.most, n)
	answer := f.answer
	f.mu.Unlock()
	return answer(ctx, c)
}

func (f *fake) Authorize(ctx context.Context, _ broker.Principal, q []broker.Question) ([]broker.Decision, error) {
	_, err := f.Authenticate(ctx, broker.Credentials{})
	return make([]broker.Decision, len(q)), err
}

func (f *fake) Revocations(context.Context, []byte, func([]broker.Revocation, []byte) error) error {
	return broker.ErrNoPower
}

func lets(_ context.Context, c broker.Credentials) (*broker.Identity, error) {
	return &broker.Identity{User: c.Token}, nil
}

func hangs(ctx context.Context, _ broker.Credentials) (*broker.Identity, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

var errAway = errors.New("away")

func away(context.Context, broker.Credentials) (*broker.Identity, error) { return nil, errAway }

func refuses(context.Context, broker.Credentials) (*broker.Identity, error) {
	return nil, protocol.Errorf(protocol.CodeRevoked, "no")
}

// deadline is what a client's question has.
const deadline = 2 * time.Second

func login(t *testing.T, g *Guard, c broker.Credentials) (*broker.Identity, error) {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	return g.Authenticate(ctx, c)
}

func loginAs(t *testing.T, g *Guard, token string) (*broker.Identity, error) {
	return login(t, g, broker.Credentials{Token: token})
}

func TestTheDefaultIsToDeny(t *testing.T) {
	p := &fake{answer: lets}
	g := New(p, Options{})
	if id, err := loginAs(t, g, "ann"); err != nil || id.User != "ann" {
		t.Fatalf("got %v and %v", id, err)
	}
	p.set(away)
	if id, err := loginAs(t, g, "ann"); id != nil || !errors.Is(err, errAway) {
		t.Errorf("got %v and %v, wanted no decision", id, err)
	}
	if s := g.Status(); s.Failed != 1 || s.Recalled != 0 || s.Remembered != 0 || s.LastKnownGood != 0 {
		t.Errorf("status %+v", s)
	}
}

func TestTheLastGoodAnswerStandsInForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{answer: lets}
		g := New(p, Options{LastKnownGood: time.Minute})
		if _, err := loginAs(t, g, "ann"); err != nil {
			t.Fatal(err)
		}
		p.set(away)
		time.Sleep(time.Minute - time.Nanosecond)
		if id, err := loginAs(t, g, "ann"); err != nil || id.User != "ann" {
			t.Errorf("within its time: %v and %v", id, err)
		}
		if id, err := loginAs(t, g, "bob"); id != nil || !errors.Is(err, errAway) {
			t.Errorf("somebody unknown: %v and %v", id, err)
		}
		if s := g.Status(); s.Recalled != 1 || s.Failed != 1 || s.Remembered != 1 {
			t.Errorf("status %+v", s)
		}
		time.Sleep(time.Nanosecond)
		if id, err := loginAs(t, g, "ann"); id != nil || !errors.Is(err, errAway) {
			t.Errorf("after its time: %v and %v", id, err)
		}
		if n := g.Status().Remembered; n != 0 {
			t.Errorf("%d answers are kept that may not be given", n)
		}
	})
}

func TestWhatStandsInDoesNotOutliveTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expires := time.Now().Add(10 * time.Second)
		p := &fake{answer: func(context.Context, broker.Credentials) (*broker.Identity, error) {
			return &broker.Identity{User: "ann", Expires: expires}, nil
		}}
		g := New(p, Options{LastKnownGood: time.Hour})
		if _, err := loginAs(t, g, "ann"); err != nil {
			t.Fatal(err)
		}
		p.set(away)
		time.Sleep(10*time.Second - time.Nanosecond)
		if _, err := loginAs(t, g, "ann"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		if id, err := loginAs(t, g, "ann"); id != nil || err == nil {
			t.Errorf("an expired token: %v and %v", id, err)
		}
	})
}

// A token that is refused from one address is not let in from another by what was true there.
func TestARefusalForgetsWhatTheTokenWasGood(t *testing.T) {
	p := &fake{answer: lets}
	g := New(p, Options{LastKnownGood: time.Hour})
	here, there := broker.Credentials{Token: "ann", Remote: "192.0.2.1"}, broker.Credentials{Token: "ann", Remote: "192.0.2.2"}
	for _, c := range []broker.Credentials{here, there, {Token: "bob"}} {
		if _, err := login(t, g, c); err != nil {
			t.Fatal(err)
		}
	}
	p.set(refuses)
	if _, err := login(t, g, here); !errors.Is(err, &protocol.Error{Code: protocol.CodeRevoked}) {
		t.Fatalf("got %v, wanted the plugin's refusal", err)
	}
	p.set(away)
	for _, c := range []broker.Credentials{here, there} {
		if id, err := login(t, g, c); id != nil || !errors.Is(err, errAway) {
			t.Errorf("from %s: %v and %v", c.Remote, id, err)
		}
	}
	if id, err := loginAs(t, g, "bob"); err != nil || id.User != "bob" {
		t.Errorf("somebody else: %v and %v", id, err)
	}
}

// What the plugin says last of a token is what counts, also when it said so of a session's fresh one.
func TestATokenThatIsRefusedWhenASessionShowsItStandsInNoMore(t *testing.T) {
	f := &fake{answer: lets}
	g := New(f, Options{LastKnownGood: time.Minute})
	for _, token := range []string{"a", "b"} {
		if _, err := loginAs(t, g, token); err != nil {
			t.Fatal(err)
		}
	}
	f.set(refuses)
	if id, err := login(t, g, broker.Credentials{Token: "a", Remote: "192.0.2.1", Previous: &broker.Principal{User: "a"}}); id != nil || protocol.CodeOf(err) != protocol.CodeRevoked {
		t.Fatalf("%v, %v", id, err)
	}
	f.set(away)
	if id, err := loginAs(t, g, "a"); id != nil || !errors.Is(err, errAway) {
		t.Errorf("%v, %v: it was refused", id, err)
	}
	if id, err := loginAs(t, g, "b"); err != nil || id.User != "b" {
		t.Errorf("%v, %v: nobody refused it", id, err)
	}
}

func TestOnlyTheVerySameCredentialsAreKnown(t *testing.T) {
	shown := broker.Credentials{Token: "t", Transport: "ws", Remote: "192.0.2.1", Header: http.Header{
		"Cookie": {"a=1"}, "X-Api-Key": {"k"}, "Sec-Websocket-Key": {"random"}, "Traceparent": {"1"},
	}}
	with := func(change func(*broker.Credentials)) broker.Credentials {
		c := shown
		c.Header = shown.Header.Clone()
		change(&c)
		return c
	}
	p := &fake{answer: lets}
	g := New(p, Options{LastKnownGood: time.Hour})
	if _, err := login(t, g, shown); err != nil {
		t.Fatal(err)
	}
	p.set(away)
	for name, c := range map[string]broker.Credentials{
		"another token":      with(func(c *broker.Credentials) { c.Token = "u" }),
		"no token":           with(func(c *broker.Credentials) { c.Token = "" }),
		"another transport":  with(func(c *broker.Credentials) { c.Transport = "http" }),
		"another address":    with(func(c *broker.Credentials) { c.Remote = "192.0.2.2" }),
		"another cookie":     with(func(c *broker.Credentials) { c.Header.Set("Cookie", "a=2") }),
		"no cookie":          with(func(c *broker.Credentials) { c.Header.Del("Cookie") }),
		"a second cookie":    with(func(c *broker.Credentials) { c.Header.Add("Cookie", "b=1") }),
		"another key":        with(func(c *broker.Credentials) { c.Header.Set("X-Api-Key", "l") }),
		"one header more":    with(func(c *broker.Credentials) { c.Header.Set("X-Role", "admin") }),
		"values moved about": with(func(c *broker.Credentials) { c.Header = http.Header{"Cookie": {"a=1", "X-Api-Key", "k"}} }),
	} {
		if id, err := login(t, g, c); id != nil || err == nil {
			t.Errorf("%s: let in as %v", name, id)
		}
	}
	same := with(func(c *broker.Credentials) {
		c.Header.Set("Sec-Websocket-Key", "other")
		c.Header.Set("Traceparent", "2")
	})
	if id, err := login(t, g, same); err != nil || id.User != "t" {
		t.Errorf("the same but for noise: %v and %v", id, err)
	}
}

func TestAFreshTokenHasNothingToStandIn(t *testing.T) {
	p := &fake{answer: lets}
	g := New(p, Options{LastKnownGood: time.Hour})
	fresh := broker.Credentials{Token: "ann", Previous: &broker.Principal{User: "ann"}}
	if id, err := login(t, g, fresh); err != nil || id.User != "ann" {
		t.Fatalf("got %v and %v", id, err)
	}
	if _, err := loginAs(t, g, "ann"); err != nil {
		t.Fatal(err)
	}
	p.set(away)
	if id, err := login(t, g, fresh); id != nil || !errors.Is(err, errAway) {
		t.Errorf("got %v and %v, wanted no decision", id, err)
	}
}

func TestMemoryIsBoundedInNumberAndBytes(t *testing.T) {
	for name, o := range map[string]Options{
		"number": {LastKnownGood: time.Hour, Remembered: 10},
		"bytes":  {LastKnownGood: time.Hour, Bytes: 10 * 1100},
	} {
		t.Run(name, func(t *testing.T) {
			p := &fake{answer: lets}
			g := New(p, o)
			for i := range 100 {
				if _, err := loginAs(t, g, fmt.Sprint("u", i)); err != nil {
					t.Fatal(err)
				}
			}
			if n := g.Status().Remembered; n != 10 || len(g.memory.byTok) != 10 || g.memory.oldest.Len() != 10 {
				t.Errorf("%d remembered, %d by token, %d by age, wanted 10", n, len(g.memory.byTok), g.memory.oldest.Len())
			}
			p.set(away)
			if _, err := loginAs(t, g, "u99"); err != nil {
				t.Error("the newest is gone")
			}
			if _, err := loginAs(t, g, "u0"); err == nil {
				t.Error("the oldest is there")
			}
		})
	}
}

// A plugin with other settings takes the place of one: what that one allowed stands in for nothing, an answer under way included.
func TestWhatAPluginSaidIsForgottenWithItsSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		g := New(f, Options{LastKnownGood: time.Hour})
		ask := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := g.Authenticate(ctx, broker.Credentials{Token: "t"})
			return err
		}
		away := func(context.Context, broker.Credentials) (*broker.Identity, error) { return nil, errors.New("away") }
		for name, first := range map[string]func(context.Context, broker.Credentials) (*broker.Identity, error){
			"before": lets,
			"under way": func(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
				g.Forget()
				return lets(ctx, c)
			},
		} {
			f.set(first)
			if err := ask(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if name == "before" {
				g.Forget()
			}
			f.set(away)
			if err := ask(); err == nil || g.Status().Remembered != 0 {
				t.Errorf("%s: an answer of the plugin before stands in", name)
			}
		}
	})
}
