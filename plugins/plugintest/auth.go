package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/protocol"
)

// Login is credentials and the right answer to them.
type Login struct {
	Name        string
	Credentials broker.Credentials

	// Refused is the code of the refusal; 0 means that the plugin has to accept, unless AnyRefusal takes every code.
	Refused    protocol.Code
	AnyRefusal bool
	// User and Check look at the identity of who is accepted. An empty User is any.
	User  string
	Check func(*broker.Identity) error

	// May and MayNot are questions about who is accepted, with their right answers by a plugin with the power authorize. At least one of
	// each is needed for a case.
	May, MayNot []broker.Question
	// Revoke takes back what the login gives, with the means of who owns the plugin: a line in its file, a row in its table. dir is the
	// folder of the case. Cases of the power revocations need at least one login with it.
	Revoke func(ctx context.Context, dir string) error
}

func (l *Login) accepted() bool { return l.Refused == 0 && !l.AnyRefusal }

// auth is a running auth plugin.
type auth struct {
	*wire.AuthClient // of process
	process          *process
	logins           []Login
	dir              string
}

// onAuth is a case with a configured auth plugin.
func onAuth(run func(*T, *auth)) func(*T) {
	return func(t *T) {
		a := &auth{logins: t.plugin.Logins, dir: t.dataDir()}
		a.start(t)
		run(t, a)
	}
}

// start starts a process with the folder of the case.
func (a *auth) start(t *T) {
	a.process = t.start(a.dir)
	a.AuthClient = a.process.auth
}

// authTime is the deadline of Authenticate.
const authTime = 2 * time.Second

// callers is how many calls of a kind a broker has under way at most (spec/plugin.md, Life).
const callers = 64

// login tries l and returns what is wrong with the answer.
func (a *auth) login(ctx context.Context, l Login) error {
	ctx, cancel := context.WithTimeout(ctx, a.process.plugin.within(authTime))
	defer cancel()
	id, err := a.Authenticate(ctx, l.Credentials)
	if !l.accepted() {
		return checkRefusal(&l, id, err)
	}
	if err != nil {
		return fmt.Errorf("%s: expected an identity, got: %w", l.Name, err)
	}
	if l.User != "" && id.User != l.User {
		return fmt.Errorf("%s: expected the user %q, got %q", l.Name, l.User, id.User)
	}
	if l.Check != nil {
		if err := l.Check(id); err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
	}
	return nil
}

func checkRefusal(l *Login, id *broker.Identity, err error) error {
	wanted := "a refusal"
	if l.Refused != 0 {
		wanted = fmt.Sprintf("the refusal %v", l.Refused)
	}
	refusal, ok := errors.AsType[*protocol.Error](err)
	switch {
	case err == nil:
		return fmt.Errorf("%s: expected %s, accepted as %q", l.Name, wanted, id.User)
	case !ok || l.Refused != 0 && refusal.Code != l.Refused:
		return fmt.Errorf("%s: expected %s, got: %w", l.Name, wanted, err)
	case refusal.Detail == "":
		return fmt.Errorf("%s: %v without a detail: nobody learns what is wrong", l.Name, refusal.Code)
	}
	if shows(refusal, l.Credentials.Token) {
		return fmt.Errorf("%s: the refusal shows a part of the token", l.Name)
	}
	return nil
}

// shows reports whether a refusal has a part of the token in its text.
func shows(r *protocol.Error, token string) bool {
	for part := range strings.FieldsFuncSeq(token, func(r rune) bool { return r == '.' }) {
		if len(part) >= 16 && strings.Contains(r.Detail+r.Hint, part) {
			return true
		}
	}
	return false
}

// withLogins skips a case of which there is no login to accept.
func withLogins(run func(*T, *auth)) func(*T, *auth) {
	return func(t *T, a *auth) {
		if !slices.ContainsFunc(a.logins, func(l Login) bool { return l.accepted() }) {
			t.Skipf("no credentials are known that the plugin accepts: give them with --token or --logins (Plugin.Logins)")
		}
		run(t, a)
	}
}

// all tries all logins.
func (a *auth) all(t *T, when string) {
	for _, l := range a.logins {
		if err := a.login(t.Context(), l); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
}

func testLogins(t *T, a *auth) {
	a.all(t, "the first time")
	a.all(t, "again")
	if !slices.ContainsFunc(a.logins, func(l Login) bool { return !l.accepted() }) {
		t.Errorf("no login is to be refused: that tests only half")
	}
}

func testManyLogins(t *T, a *auth) {
	const rounds = 5
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for i := range rounds {
				if t.Failed() { // each of them may take as long as the deadline
					return
				}
				if err := a.login(t.Context(), a.logins[(caller+i)%len(a.logins)]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func testDeadline(t *T, a *auth) {
	for i := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
		_, _ = a.Authenticate(ctx, a.logins[i%len(a.logins)].Credentials) // some are answered all the same
		cancel()
	}
	a.all(t, "afterwards")
}

func testAuthKill(t *T, a *auth) {
	a.process.kill()
	a.start(t)
	a.all(t, "after the kill")
}
