package plugintest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/host"
	"github.com/carillon-mq/carillon/protocol"
)

// Login is credentials and the right answer to them.
type Login struct {
	Name        string
	Credentials broker.Credentials

	// Refused is the code of the refusal; 0 means that the plugin has to accept. Check looks at the identity then.
	Refused protocol.Code
	Check   func(*broker.Identity) error
}

// Auth runs the contract of an auth plugin (spec/plugin/auth/v1/auth.proto) as subtests of t. logins holds at least one that is
// accepted and one that is refused.
func Auth(t *testing.T, p Plugin, logins []Login) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *auth)
	}{
		{"every login gets its answer", testLogins},
		{"also many at once", testManyLogins},
		{"hostile credentials are refused by the same process", testHostile},
		{"a call ends with its deadline", testDeadline},
		{"after a kill nothing is granted until the plugin is back", testAuthKill},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := &auth{host: newHost(t), logins: logins}
			var err error
			if a.Auth, err = a.host.Auth(p.spec(t.TempDir())); err != nil {
				t.Fatal(err)
			}
			waitReady(t, a.Auth)
			test.run(t, a)
		})
	}
}

// auth is a running auth plugin.
type auth struct {
	*host.Auth
	host   *host.Host
	logins []Login
}

// login tries l and returns what is wrong with the answer.
func (a *auth) login(ctx context.Context, l Login) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	id, err := a.Authenticate(ctx, l.Credentials)
	if l.Refused != 0 {
		return checkRefusal(l, id, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w, want an identity", l.Name, err)
	}
	if l.Check != nil {
		if err := l.Check(id); err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
	}
	return nil
}

func checkRefusal(l Login, id *broker.Identity, err error) error {
	refusal, ok := errors.AsType[*protocol.Error](err)
	switch {
	case err == nil:
		return fmt.Errorf("%s: accepted as %q, want %v", l.Name, id.User, l.Refused)
	case !ok || refusal.Code != l.Refused:
		return fmt.Errorf("%s: %w, want %v", l.Name, err, l.Refused)
	case refusal.Detail == "":
		return fmt.Errorf("%s: %v without a detail: nobody learns what is wrong", l.Name, l.Refused)
	}
	for part := range strings.FieldsFuncSeq(l.Credentials.Token, func(r rune) bool { return r == '.' }) {
		if len(part) >= 16 && strings.Contains(refusal.Detail+refusal.Hint, part) {
			return fmt.Errorf("%s: the refusal shows a part of the token", l.Name)
		}
	}
	return nil
}

func testLogins(t *testing.T, a *auth) {
	accepted, refused := 0, 0
	for _, l := range a.logins {
		if l.Refused == 0 {
			accepted++
		} else {
			refused++
		}
		if err := a.login(t.Context(), l); err != nil {
			t.Error(err)
		}
	}
	if accepted == 0 || refused == 0 {
		t.Error("the logins hold none that is accepted, or none that is refused: that tests nothing")
	}
}

func testManyLogins(t *testing.T, a *auth) {
	const callers, rounds = 16, 20
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for i := range rounds {
				if err := a.login(t.Context(), a.logins[(caller+i)%len(a.logins)]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func testHostile(t *testing.T, a *auth) {
	pid := a.Status().PID
	for _, token := range []string{
		"", " ", ".", "..", "....", "\x00", "null", "{}", "Bearer ", "a.b.c", strings.Repeat("a", 8<<10), strings.Repeat(".", 8<<10),
		strings.Repeat("e30.", 2000), "\xff\xfe", "eyJhbGciOiJub25lIn0.e30.", strings.Repeat("[", 8<<10), "../../../../etc/passwd", "' OR 1=1 --",
	} {
		l := Login{Credentials: broker.Credentials{Token: token, Transport: "ws", Remote: "192.0.2.1"}}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		id, err := a.Authenticate(ctx, l.Credentials)
		cancel()
		if err == nil && id.User != "" { // a plugin may know anonymous clients
			t.Errorf("%.40q is taken for %q", token, id.User)
		}
		if _, refused := errors.AsType[*protocol.Error](err); err != nil && !refused {
			t.Errorf("%.40q: %v, want a refusal", token, err)
		}
	}
	for _, l := range a.logins {
		if err := a.login(t.Context(), l); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}
	if now := a.Status().PID; now != pid {
		t.Errorf("the process has changed from %d to %d", pid, now)
	}
}

func testDeadline(t *testing.T, a *auth) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if id, err := a.Authenticate(ctx, a.logins[0].Credentials); err == nil {
		t.Errorf("accepted as %q after the deadline", id.User)
	}
}

func testAuthKill(t *testing.T, a *auth) {
	pid := a.Status().PID
	killProcess(t, pid)
	for a.Status().PID == pid || a.Status().State != host.Ready {
		changed := a.host.Changed()
		for _, l := range a.logins {
			err := a.login(t.Context(), l)
			if l.Refused != 0 && err != nil && !errors.Is(err, host.ErrUnavailable) {
				t.Errorf("while the plugin is away: %v", err)
			}
		}
		if a.Status().State == host.Ready && a.Status().PID != pid {
			break
		}
		select {
		case <-changed:
		case <-time.After(patience):
			t.Fatalf("the plugin is not ready again: %+v", a.Status())
		}
	}
	for _, l := range a.logins {
		if err := a.login(t.Context(), l); err != nil {
			t.Errorf("when it is back: %v", err)
		}
	}
}
