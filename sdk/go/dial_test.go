package carillon

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/protocol"
)

// dialInBackground starts Dial and returns where its error will be.
func dialInBackground(ctx context.Context, b *fakeBroker, opts ...Option) chan error {
	done := make(chan error, 1)
	go func() {
		c, err := Dial(ctx, "ws://broker/ws", b.options(opts...)...)
		if c != nil {
			err = errors.Join(err, c.Close(context.Background()))
		}
		done <- err
	}()
	return done
}

func TestDialWaitsUntilTheBrokerHasAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		done := dialInBackground(t.Context(), b, WithToken("secret"), WithClientName("test/1"), WithOrigin("tab"))
		fc := b.accept()
		want := &protocol.Connect{
			Version: protocol.Version, Token: "secret", Client: "test/1", Origin: "tab", Compress: protocol.CompressDeflate,
		}
		if diff := cmp.Diff(want, fc.hello); diff != "" {
			t.Errorf("Connect (-want +got):\n%s", diff)
		}
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("Dial returned (%v) before Connected", err)
		default:
		}
		fc.greet(at(5, 0))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDialReturnsTheRefusal(t *testing.T) {
	refused := protocol.Errorf(protocol.CodeTokenWrongAudience, "found aud web, wanted api").WithHint("ask again")
	problem := `{"type":"about:blank","code":"token_wrong_audience","detail":"found aud web, wanted api","hint":"ask again"}`
	tests := []struct {
		name   string
		answer func(fc *fakeConn)
		http   func(w http.ResponseWriter) bool
	}{
		{name: "Disconnect", answer: func(fc *fakeConn) { d := refused.Disconnect(); fc.send(&d) }},
		{name: "Error", answer: func(fc *fakeConn) { fc.send(refused.Packet(0)) }},
		{name: "upgrade", http: func(w http.ResponseWriter) bool {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, problem)
			return true
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				if test.http != nil {
					b.refuseWith(test.http)
				}
				done := dialInBackground(t.Context(), b, WithDialRetry())
				if test.answer != nil {
					test.answer(b.accept())
				}
				err := <-done
				got, ok := errors.AsType[*Error](err)
				if !ok {
					t.Fatalf("Dial: %v, want an *Error", err)
				}
				if diff := cmp.Diff(refused, got); diff != "" {
					t.Errorf("error (-want +got):\n%s", diff)
				}
				if Retryable(err) {
					t.Error("it counts as retryable")
				}
			})
		})
	}
}

func TestDialFailsWithItsFirstAttempt(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		b.refuseWith(func(w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusNotFound)
			return true
		})
		if err := <-dialInBackground(t.Context(), b); err == nil {
			t.Error("Dial succeeded")
		}
	})
}

func TestDialRetriesIfAskedTo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		start, tries := time.Now(), 0
		b.refuseWith(func(w http.ResponseWriter) bool {
			tries++
			if tries == 3 {
				return false
			}
			w.Header().Set("Retry-After", "4")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		done := dialInBackground(t.Context(), b, WithDialRetry())
		b.resume(at(5, 0))
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := time.Since(start); got != 8*time.Second {
			t.Errorf("the third attempt was after %v, want 8s", got)
		}
	})
}

func TestDialGivesUpOnABrokerThatDoesNotAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		start := time.Now()
		done := dialInBackground(t.Context(), b, WithDialTimeout(3*time.Second))
		fc := b.accept()
		if err := <-done; err == nil {
			t.Error("Dial succeeded")
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("gave up after %v, want 3s", got)
		}
		<-fc.over
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := dialInBackground(ctx, b)
		b.accept()
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: %v", err)
		}
	})
}

func TestLimitsAreThoseOfTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		hello := connected(at(5, 0))
		hello.Limits = map[string]int64{"publish_rate": 50}
		c, fc := b.dialWith(hello)
		if got := c.Limits()["publish_rate"]; got != 50 {
			t.Errorf("publish_rate %d, want 50", got)
		}
		fc.cut()
		synctest.Wait()
		if got := c.Limits(); got != nil {
			t.Errorf("limits %v without a connection", got)
		}
		b.resume(at(5, 0))
		synctest.Wait()
		if got := c.Limits(); got == nil || len(got) > 0 {
			t.Errorf("limits %v, want none", got)
		}
	})
}

func TestStatusIsToldInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		var mu sync.Mutex
		var states []State
		c, fc := b.dial(at(5, 0), WithStatus(func(s Status) {
			mu.Lock()
			defer mu.Unlock()
			states = append(states, s.State)
		}))
		fc.cut()
		b.resume(at(5, 0))
		synctest.Wait()
		if s := c.Status(); s.State != StateConnected || s.Session != "s1" || s.User != "ann" {
			t.Errorf("status %+v", s)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		want := []State{StateConnecting, StateConnected, StateReconnecting, StateConnected, StateClosed}
		if diff := cmp.Diff(want, states); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
	})
}

// tokenSource gives out a number of tokens and keeps the reasons it was asked for.
type tokenSource struct {
	tokens  []string
	reasons []string
	fail    int // so many times first
}

func (s *tokenSource) next(_ context.Context, r TokenRequest) (string, error) {
	s.reasons = append(s.reasons, r.Reason)
	if s.fail > 0 {
		s.fail--
		return "", errors.New("no token today")
	}
	token := s.tokens[0]
	s.tokens = s.tokens[1:]
	return token, nil
}

func TestExpiredTokenIsReplacedAndNothingIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		source := &tokenSource{tokens: []string{"one", "two", "three"}}
		c, fc := b.dial(at(5, 0), WithTokenFunc(source.next))
		r := read(t, c.Subscribe("a", NoRetained()))
		fc.live("a", at(5, 0))
		expired := time.Now()
		fc.send(msg(6, 0, "a", "6"), &protocol.Disconnect{Code: protocol.CodeTokenExpired, Reconnect: true})

		fc = b.resume(at(7, 0))
		if fc.hello.Token != "two" || time.Since(expired) != 0 {
			t.Errorf("came back with token %q after %v, want two, at once", fc.hello.Token, time.Since(expired))
		}
		id := fc.resumes("a", at(6, 0))
		fc.send(&protocol.Replay{Subscription: id, Count: 1}, msg(7, 0, "a", "7"), &protocol.Resumed{Subscription: id, Position: at(7, 0)})
		r.next("message a=6", "message a=7", "resumed")

		fc.cut() // an ordinary loss: the token is still good
		if fc = b.resume(at(7, 0)); fc.hello.Token != "two" {
			t.Errorf("came back with token %q, want two", fc.hello.Token)
		}
		if want := []string{"connect", "token_expired"}; !slices.Equal(source.reasons, want) {
			t.Errorf("asked because of %q, want %q", source.reasons, want)
		}
	})
}

func TestTokenWhoseTimeIsUpIsNotShownAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		source := &tokenSource{tokens: []string{"one", "two", "three"}}
		hello := connected(at(5, 0))
		hello.Expires = time.Now().Add(time.Minute).UnixMilli()
		_, fc := b.dialWith(hello, WithTokenFunc(source.next), WithMaxSilence(time.Hour))
		fc.send(protocol.Errorf(protocol.CodeForbidden, "no").Packet(expect[*protocol.Refresh](fc).ID))
		time.Sleep(time.Minute)
		fc.cut()
		if fc = b.resume(at(5, 0)); fc.hello.Token != "three" {
			t.Errorf("came back with token %q, want three", fc.hello.Token)
		}
		if want := []string{"connect", "expiring", "expired"}; !slices.Equal(source.reasons, want) {
			t.Errorf("asked because of %q, want %q", source.reasons, want)
		}
	})
}

func TestTokenSourceThatFailsIsAskedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		source := &tokenSource{tokens: []string{"one", "two"}}
		_, fc := b.dial(at(5, 0), WithTokenFunc(source.next))
		source.fail = 2
		fc.send(&protocol.Disconnect{Code: protocol.CodeTokenExpired, Reconnect: true})
		if fc = b.resume(at(5, 0)); fc.hello.Token != "two" {
			t.Errorf("came back with token %q, want two", fc.hello.Token)
		}
		if want := []string{"connect", "token_expired", "token_expired", "token_expired"}; !slices.Equal(source.reasons, want) {
			t.Errorf("asked because of %q, want %q", source.reasons, want)
		}
	})
}

// [REC-3]: who cannot ask for a fresh token comes back with what it has, at once, and goes on if that is taken; if not, that is the end.
func TestWithoutATokenFunctionWhatItHasIsShownOnceMore(t *testing.T) {
	expired := &protocol.Disconnect{Code: protocol.CodeTokenExpired, Reconnect: true}
	session := http.Header{"Cookie": {"PHPSESSID=ada"}}
	for name, how := range map[string]struct {
		with   Option
		header http.Header
		token  string
	}{
		"a fixed token": {with: WithToken("one"), token: "one"},
		"a cookie":      {with: WithHTTPHeader(session), header: session},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				c, fc := b.dial(at(5, 0), how.with)
				r := read(t, c.Subscribe("a", NoRetained()))
				fc.live("a", at(5, 0))
				for n := range uint64(3) { // each is the first time for its session
					fc.send(msg(6+n, 0, "a", "x"), expired)
					ended := time.Now()
					fc = b.resume(at(6+n, 0))
					if took := time.Since(ended); n == 0 && took != 0 || fc.hello.Token != how.token || fc.header.Get("Cookie") != how.header.Get("Cookie") {
						t.Errorf("came back after %v with token %q and %v", took, fc.hello.Token, fc.header)
					}
					fc.send(&protocol.Resumed{Subscription: fc.resumes("a", at(6+n, 0)), Position: at(6+n, 0)})
					r.next("message a=x", "resumed")
				}
				fc.send(expired)
				b.accept().send(&protocol.Disconnect{Code: protocol.CodeTokenMissing})
				<-c.Done()
				if s := c.Status(); protocol.CodeOf(s.Err) != protocol.CodeTokenMissing {
					t.Errorf("status %+v, want token_missing", s)
				}
			})
		})
	}
}

func TestWithoutATokenFunctionARefusalIsTheEnd(t *testing.T) {
	expired := &protocol.Disconnect{Code: protocol.CodeTokenExpired, Reconnect: true}
	for name, end := range map[string]func(b *fakeBroker, fc *fakeConn){
		"it has expired for the next connection too": func(b *fakeBroker, fc *fakeConn) {
			fc.send(expired)
			b.accept().send(expired)
		},
		"it is told not to come back": func(_ *fakeBroker, fc *fakeConn) {
			fc.send(&protocol.Disconnect{Code: protocol.CodeTokenExpired, Reconnect: false})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				c, fc := b.dial(at(5, 0), WithToken("one"))
				end(b, fc)
				<-c.Done()
				if s := c.Status(); !errors.Is(s.Err, ErrTokenExpired) {
					t.Errorf("status %+v, want token_expired", s)
				}
				if len(b.conns) > 0 {
					t.Error("it came back")
				}
			})
		})
	}
}

func TestTokenThatKeepsBeingRefusedIsNotTriedInALoop(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		source := &tokenSource{tokens: []string{"1", "2", "3", "4", "5"}}
		_, fc := b.dial(at(5, 0), WithTokenFunc(source.next))
		time.Sleep(stableAfter)
		start := time.Now()
		for range 4 {
			fc.send(&protocol.Disconnect{Code: protocol.CodeTokenExpired, Reconnect: true})
			fc = b.accept()
		}
		if got, want := time.Since(start), (0+500+1000+2000)*time.Millisecond; got != want {
			t.Errorf("four refusals took %v, want %v", got, want)
		}
	})
}
