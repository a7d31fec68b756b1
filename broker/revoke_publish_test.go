package broker_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// undecided allows what is below yes, once decided is closed, and revokes.
type undecided struct {
	*authorizing
	*revoking
	decided chan struct{}
}

func newUndecided() *undecided {
	decided := make(chan struct{})
	return &undecided{&authorizing{allow: under("yes."), answer: func(d []broker.Decision) []broker.Decision {
		<-decided
		return d
	}}, newRevoking(nil), decided}
}

// [RGT-1]: what was revoked while the Authorizer was asked about a publish is not published, whatever the Authorizer says then.
func TestNothingIsPublishedForWhoWasRevokedWhileItWasDecided(t *testing.T) {
	for name, revocation := range map[string]func(session string) broker.Revocation{
		"a user": func(string) broker.Revocation {
			return broker.Revocation{User: "ann", Until: time.Now().Add(time.Hour)}
		},
		"a token": func(string) broker.Revocation {
			return broker.Revocation{TokenID: "id", Until: time.Now().Add(time.Hour)}
		},
		"a session": func(session string) broker.Revocation { return broker.Revocation{Session: session} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newUndecided()
				b := start(t, broker.Options{Authenticator: a, PingEvery: time.Hour})
				c := login(t, b, "t")
				go func() { _ = c.TrySend(&protocol.Publish{ID: 1, Topic: "yes.a"}) }()
				synctest.Wait()
				a.batches <- revokes{batch: []broker.Revocation{revocation(c.Session.ID())}}
				for endedBy(c) == 0 { // its reader is busy: the bubble does not come to rest
					runtime.Gosched()
				}
				close(a.decided)
				synctest.Wait()
				if at := b.Position(); at.Seq != 0 {
					t.Errorf("found the log at %d, wanted nothing in it", at.Seq)
				}
				if is := endedBy(c); is != protocol.CodeRevoked {
					t.Errorf("found the session ended by %v", is)
				}
			})
		})
	}
}

// [RGT-1]: it is so through the other doors, too, which have no session.
func TestAPublishWithoutASessionEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newUndecided()
		b := start(t, broker.Options{Authenticator: a, PingEvery: time.Hour})
		id, err := b.Authenticate(t.Context(), broker.Credentials{Token: "t"})
		if err != nil {
			t.Fatal(err)
		}
		refusals := make(chan error, 1)
		go func() {
			_, err := b.Publish(t.Context(), id, broker.PublishRequest{Topic: "yes.a"})
			refusals <- err
		}()
		synctest.Wait()
		a.revoke(broker.Revocation{User: "ann", Until: time.Now().Add(time.Hour)})
		close(a.decided)
		if err := <-refusals; code(err) != protocol.CodeRevoked || b.Position().Seq != 0 {
			t.Errorf("found %v, and the log at %d", err, b.Position().Seq)
		}
	})
}

// What answers take is bounded within one message, too: a client that sends very many small packets in it and reads nothing waits for itself.
func TestTheAnswersToOneMessageWaitForTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const packets = 20_000
		b := start(t, broker.Options{Limits: broker.Limits{Pending: 4 << 10}})
		c := brokertest.Dial(t, b, nil)
		c.Shut()
		var msg []byte
		for range packets {
			msg = append(msg, 0x92, 0x7f, 0x09) // [127, 9], which is unknown_type
		}
		go func() { _ = c.SendBytes(msg) }()
		synctest.Wait()
		if n := c.Session.Queued(); n > 64<<10 {
			t.Errorf("found %d bytes that wait for a client that reads nothing", n)
		}
		c.Open()
		if n := count(arrived(c), "error 9 unknown_type"); n != packets {
			t.Errorf("found %d answers, wanted %d", n, packets)
		}
	})
}
