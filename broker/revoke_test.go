package broker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// revoking is an Authenticator that lets in whatever token it knows and revokes what the test says. A stream ends with what is sent to cut.
type revoking struct {
	tokens
	opened  chan string // the cursors it was opened with
	batches chan revokes
	cut     chan error
}

type revokes struct {
	batch  []broker.Revocation
	cursor string
}

func newRevoking(known tokens) *revoking {
	return &revoking{tokens: known, opened: make(chan string, 16), batches: make(chan revokes), cut: make(chan error)}
}

func (r *revoking) Revocations(ctx context.Context, cursor []byte, on func([]broker.Revocation, []byte) error) error {
	r.opened <- string(cursor)
	for {
		select {
		case b := <-r.batches:
			var at []byte
			if b.cursor != "" {
				at = []byte(b.cursor)
			}
			if err := on(b.batch, at); err != nil {
				return err
			}
		case err := <-r.cut:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// revoke sends revocations and waits until they have had their effect.
func (r *revoking) revoke(batch ...broker.Revocation) {
	r.batches <- revokes{batch: batch}
	synctest.Wait()
}

func login(t *testing.T, b *broker.Broker, token string) *brokertest.Client {
	t.Helper()
	c := brokertest.Open(t, b, broker.ConnInfo{})
	_ = c.TrySend(&protocol.Connect{Version: 1, Token: token}) // what becomes of it is seen by how the session ends
	synctest.Wait()
	return c
}

// endedBy is the code with which c was closed, 0 if it is open, 1 if it was cut without a word.
func endedBy(c *brokertest.Client) protocol.Code {
	switch d, ended := c.Ended(); {
	case !ended:
		return 0
	case d == nil:
		return 1
	default:
		return d.Code
	}
}

func TestARevocationEndsTheSessionsThatItIsAboutAndNoOthers(t *testing.T) {
	kicked := protocol.Errorf(protocol.CodeKicked, "spam")
	for name, c := range map[string]struct {
		revocation func(session string) broker.Revocation
		ends       map[string]protocol.Code // by token
	}{
		"a user": {
			func(string) broker.Revocation { return broker.Revocation{User: "ann"} },
			map[string]protocol.Code{"ann-1": protocol.CodeRevoked, "ann-2": protocol.CodeRevoked},
		},
		"a user, what was issued before": {
			func(string) broker.Revocation {
				return broker.Revocation{User: "ann", IssuedBefore: time.Now().Add(-time.Minute)}
			},
			map[string]protocol.Code{"ann-1": protocol.CodeRevoked},
		},
		"a token": {
			func(string) broker.Revocation { return broker.Revocation{TokenID: "id-2", Why: kicked} },
			map[string]protocol.Code{"ann-2": protocol.CodeKicked},
		},
		"a session": {
			func(session string) broker.Revocation { return broker.Revocation{Session: session} },
			map[string]protocol.Code{"bob": protocol.CodeRevoked},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				auth := newRevoking(tokens{
					"ann-1": {User: "ann", TokenID: "id-1", Issued: now.Add(-time.Hour)}, "ann-2": {User: "ann", TokenID: "id-2", Issued: now},
					"bob": {User: "bob"},
				})
				b := start(t, broker.Options{Authenticator: auth})
				clients := map[string]*brokertest.Client{}
				for token := range auth.tokens {
					clients[token] = login(t, b, token)
				}
				r := c.revocation(clients["bob"].Session.ID())
				if r.Session == "" {
					r.Until = now.Add(time.Hour)
				}
				auth.revoke(r)
				for token, client := range clients {
					if got := endedBy(client); got != c.ends[token] {
						t.Errorf("%s: ended by %v, wanted %v", token, got, c.ends[token])
					}
					comesBack := login(t, b, token)
					want := c.ends[token]
					if r.Session != "" {
						want = 0 // its token lets it in again
					}
					if got := endedBy(comesBack); got != want {
						t.Errorf("%s comes back: ended by %v, wanted %v", token, got, want)
					}
				}
				st := b.Stats()
				if st.RevokedSessions != uint64(len(c.ends)) || st.Revoked != 1 || !st.RevocationsUp {
					t.Errorf("counted %+v", st)
				}
			})
		})
	}
}

// R6: what waits for a session that is revoked is not delivered; it is told why it ends.
func TestARevocationDropsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newRevoking(tokens{"ann": {User: "ann", Grants: grants("a")}, "bob": {User: "bob", Grants: grants("a")}})
		b := start(t, broker.Options{Authenticator: auth, Shards: 1})
		c, other := login(t, b, "ann"), login(t, b, "bob")
		wantArrived(t, c, "connected")
		wantArrived(t, other, "connected")
		c.Subscribe(1, "a")
		c.Shut()
		for i := range 50 {
			other.Publish(uint64(i+1), "a", kib(1))
		}
		synctest.Wait()
		auth.revoke(broker.Revocation{User: "ann", Until: time.Now().Add(time.Hour)})
		c.Open()
		synctest.Wait()
		if got := endedBy(c); got != protocol.CodeRevoked {
			t.Errorf("ended by %v, wanted revoked", got)
		}
		wantArrived(t, c, "disconnect revoked")
	})
}

// The token is known to be revoked until it expires, whatever an Authenticator says; and then it is no matter any more.
func TestARevokedTokenIsNotLetInUntilTheRevocationIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newRevoking(tokens{"ann": {User: "ann", TokenID: "id"}})
		b := start(t, broker.Options{Authenticator: auth})
		auth.revoke(broker.Revocation{TokenID: "id", Until: time.Now().Add(time.Hour), Why: protocol.Errorf(protocol.CodeTokenExpired, "ask anew")})
		if _, err := b.Authenticate(t.Context(), broker.Credentials{Token: "ann"}); code(err) != protocol.CodeTokenExpired {
			t.Errorf("got %v, wanted what the revocation says", err)
		}
		time.Sleep(time.Hour - time.Second)
		if got := endedBy(login(t, b, "ann")); got != protocol.CodeTokenExpired {
			t.Errorf("a second before its end: %v", got)
		}
		time.Sleep(time.Second)
		if got := endedBy(login(t, b, "ann")); got != 0 {
			t.Errorf("after its end: %v", got)
		}
	})
}

// A session that is being let in while its token is revoked does not slip through between.
func TestARevocationDuringTheLoginIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newRevoking(tokens{"ann": {User: "ann", Grants: grants("a")}})
		b := start(t, broker.Options{Authenticator: auth})
		id, err := b.Authenticate(t.Context(), broker.Credentials{Token: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		auth.revoke(broker.Revocation{User: "ann", Until: time.Now().Add(time.Hour)})
		c := brokertest.Open(t, b, broker.ConnInfo{Identity: id}) // as from an upgrade of before
		_ = c.TrySend(&protocol.Connect{Version: 1})
		if got := endedBy(c); got != protocol.CodeRevoked {
			t.Errorf("a session: %v", got)
		}
		follower := brokertest.Open(t, b, broker.ConnInfo{Identity: id})
		if err := follower.Session.Follow(broker.FollowRequest{Filters: []string{"a"}}); code(err) != protocol.CodeRevoked {
			t.Errorf("a session that follows: %v", err)
		}
		if _, err := b.Publish(t.Context(), id, broker.PublishRequest{Topic: "a"}); code(err) != protocol.CodeRevoked {
			t.Errorf("a publish: %v", err)
		}
		if b.Revoked(id) == nil || b.Revoked(&broker.Identity{User: "bob"}) != nil {
			t.Error("Revoked does not say so")
		}
	})
}

// [REF-2]: a fresh token that is revoked is refused, and the session goes on with the one that it has.
func TestARevokedFreshTokenChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newRevoking(tokens{"old": {User: "ann", TokenID: "1"}, "new": {User: "ann", TokenID: "2"}})
		b := start(t, broker.Options{Authenticator: auth})
		c := login(t, b, "old")
		wantArrived(t, c, "connected")
		auth.revoke(broker.Revocation{TokenID: "2", Until: time.Now().Add(time.Hour)})
		c.Send(&protocol.Refresh{ID: 1, Token: "new"})
		wantArrived(t, c, "error 1 forbidden")
		auth.revoke(broker.Revocation{TokenID: "1", Until: time.Now().Add(time.Hour)})
		if got := endedBy(c); got != protocol.CodeRevoked {
			t.Errorf("ended by %v", got)
		}
	})
}

// No revocation is lost while either side is away: the next stream begins where the last one ended.
func TestAStreamOfRevocationsGoesOnWhereItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newRevoking(nil)
		b := start(t, broker.Options{Authenticator: auth})
		if at := <-auth.opened; at != "" {
			t.Errorf("a new broker began at %q", at)
		}
		session := broker.Revocation{Session: "s"}
		auth.batches <- revokes{[]broker.Revocation{session}, "one"}
		auth.batches <- revokes{[]broker.Revocation{session}, ""} // the cursor stays
		for _, err := range []error{errors.New("killed"), nil, errors.New("malformed")} {
			auth.cut <- err
			if at := <-auth.opened; at != "one" {
				t.Errorf("opened again at %q, wanted the last cursor", at)
			}
		}
		auth.batches <- revokes{nil, "two"}
		auth.cut <- errors.New("killed")
		if at := <-auth.opened; at != "two" {
			t.Errorf("opened again at %q, wanted the cursor of an empty batch", at)
		}
		if st := b.Stats(); st.Revoked != 2 || st.RevocationsUp {
			t.Errorf("counted %d, up %v", st.Revoked, st.RevocationsUp)
		}
		b.Close()
	})
}

// Another plugin may take the place of one without the power, so the broker goes on asking, seldom.
func TestAnAuthenticatorThatLosesThePowerIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newRevoking(nil)
		b := start(t, broker.Options{Authenticator: auth})
		<-auth.opened
		for range 3 {
			began := time.Now()
			auth.cut <- broker.ErrNoPower
			<-auth.opened
			if wait := time.Since(began); wait != 5*time.Second {
				t.Errorf("asked again after %v", wait)
			}
		}
		b.Close()
	})
}
