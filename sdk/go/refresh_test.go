package carillon

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// expiring greets a client whose token has a minute, and takes its first Refresh.
func expiring(t *testing.T, source *tokenSource, do func(c *Client, b *fakeBroker, fc *fakeConn, id uint64)) {
	t.Helper()
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		hello := connected(at(5, 0))
		hello.Expires = time.Now().Add(time.Minute).UnixMilli()
		began := time.Now()
		c, fc := b.dialWith(hello, WithTokenFunc(source.next), WithMaxSilence(24*time.Hour))
		p := expect[*protocol.Refresh](fc)
		if took := time.Since(began); p.Token != "two" || took < 47*time.Second || took > 49*time.Second {
			t.Errorf("found %+v after %s, wanted two after 48 s", p, took)
		}
		do(c, b, fc, p.ID)
	})
}

// [REF-6]: the session goes on, with token after token, and the last one is good for the next connection.
func TestASessionGoesOnWithFreshTokens(t *testing.T) {
	source := &tokenSource{tokens: []string{"one", "two", "three", "four"}}
	expiring(t, source, func(c *Client, b *fakeBroker, fc *fakeConn, id uint64) {
		fc.send(&protocol.Refreshed{ID: id, Expires: time.Now().Add(time.Hour).UnixMilli(), Limits: map[string]int64{"payload": 7}})
		again := time.Now()
		time.Sleep(47*time.Minute + 30*time.Second)
		p := expect[*protocol.Refresh](fc)
		if took := time.Since(again); p.Token != "three" || took < 47*time.Minute || took > 49*time.Minute {
			t.Errorf("found %+v after %s, wanted three after 48 minutes", p, took)
		}
		if got := c.Limits()["payload"]; got != 7 {
			t.Errorf("found the limit %d, wanted the one that came with the token", got)
		}
		fc.send(&protocol.Refreshed{ID: p.ID}) // for ever
		time.Sleep(48 * time.Hour / 4)
		fc.cut()
		if fc = b.resume(at(5, 0)); fc.hello.Token != "three" {
			t.Errorf("came back with token %q, want three", fc.hello.Token)
		}
		if want := []string{"connect", "expiring", "expiring"}; !slices.Equal(source.reasons, want) {
			t.Errorf("asked because of %q, want %q", source.reasons, want)
		}
	})
}

// [REF-2]: what is refused is not shown again; what could not be judged is, later.
func TestARefusedFreshTokenLeavesTheSession(t *testing.T) {
	source := &tokenSource{tokens: []string{"one", "two", "three", "four"}}
	expiring(t, source, func(c *Client, b *fakeBroker, fc *fakeConn, id uint64) {
		fc.send(protocol.Errorf(protocol.CodeAuthUnavailable, "away").WithRetryAfter(6 * time.Second).Packet(id))
		asked := time.Now()
		p := expect[*protocol.Refresh](fc)
		if took := time.Since(asked); p.Token != "three" || took != 6*time.Second {
			t.Errorf("found %+v after %s, wanted three after 6 s", p, took)
		}
		fc.send(protocol.Errorf(protocol.CodeForbidden, "no").Packet(p.ID))
		time.Sleep(time.Hour)
		synctest.Wait()
		if c.Status().State != StateConnected {
			t.Errorf("found %+v, wanted the session to go on", c.Status())
		}
		fc.send(&protocol.Disconnect{Code: protocol.CodeTokenExpired, Reconnect: true})
		if fc = b.resume(at(5, 0)); fc.hello.Token != "four" {
			t.Errorf("came back with token %q, want four", fc.hello.Token)
		}
	})
}

// A token that was fetched is used, whether the session is there for it or the next one.
func TestAFreshTokenIsForTheNextConnectionToo(t *testing.T) {
	for name, end := range map[string]func(fc *fakeConn, id uint64){
		"the connection is lost": func(fc *fakeConn, _ uint64) { fc.cut() },
		"an older broker": func(fc *fakeConn, id uint64) {
			fc.send(protocol.Errorf(protocol.CodeUnknownType, "found packet type Refresh").Packet(id))
			synctest.Wait()
			fc.cut()
		},
	} {
		t.Run(name, func(t *testing.T) {
			source := &tokenSource{tokens: []string{"one", "two", "three"}}
			expiring(t, source, func(_ *Client, b *fakeBroker, fc *fakeConn, id uint64) {
				end(fc, id)
				if fc = b.resume(at(5, 0)); fc.hello.Token != "two" {
					t.Errorf("came back with token %q, want two", fc.hello.Token)
				}
			})
		})
	}
}

// [REF-4]: a subscription that the fresh token does not cover ends with the reason, the others go on.
func TestASubscriptionThatTheFreshTokenDoesNotCoverEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dial(at(5, 0))
		kept, lost := read(t, c.Subscribe("a", NoRetained())), c.Subscribe("b", NoRetained())
		fc.live("a", at(5, 0))
		id := fc.live("b", at(5, 0))
		fc.send(protocol.Errorf(protocol.CodeForbidden, "the subscription has ended").Packet(id), msg(6, 0, "a", "6"))
		for e, err := range lost.Events(t.Context()) {
			if protocol.CodeOf(err) != protocol.CodeForbidden {
				t.Errorf("found %v, %v, wanted forbidden", e, err)
			}
		}
		kept.next("message a=6")
	})
}

func TestWhenATokenIsReplaced(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{
		time.Hour: 48 * time.Minute, 40 * time.Second: 30 * time.Second, 12 * time.Second: 5 * time.Second, time.Second: 5 * time.Second,
	} {
		if got := refreshIn(left); got != want {
			t.Errorf("%s left: found %s, wanted %s", left, got, want)
		}
	}
}
