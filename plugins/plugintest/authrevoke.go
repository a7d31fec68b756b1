package plugintest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// authRevocations are the cases of the power revocations.
var authRevocations = []Case{
	{
		Name: "the call that brings revocations answers at once, and stays open", Power: powerRevocations, run: onAuth(testRevocations),
		Does: "opens Revocations without a cursor and with one that the plugin does not know, waits for the first answer, and looks for half a second more",
		Says: "A plugin answers with what is in force at once, also if that is nothing",
	},
	{
		Name: "what is revoked is told to every broker, and refused", Power: powerRevocations, run: onAuth(withRevoke(testRevoke)),
		Does: "opens Revocations twice, revokes a login, waits until both are told, tries all logins, and asks what is in force",
		Says: "A plugin refuses in Authenticate what it has revoked, too",
	},
	{
		Name: "who it says is revoked is not let in", Power: powerRevocations, run: onAuth(withLogins(testInForce)),
		Does: "opens Revocations, looks for half a second at what is in force, and tries the logins",
		Says: "A plugin refuses in Authenticate what it has revoked, too",
	},
	{
		Name: "a revocation is remembered for as long as what it is about", Power: powerRevocations, run: onAuth(withRevoke(testUntil)),
		Does: "revokes a login, and compares the revocation's times with those of its identity",
		Says: "Until when the broker has to remember it, in Unix milliseconds: the expiry of the last token that it is about",
	},
	{
		Name: "a broker that comes back is told what it has missed", Power: powerRevocations, run: onAuth(withRevoke(testCursor)),
		Does: "revokes logins one after another, and opens Revocations without a cursor, with the one of each answer, and with one that the plugin does not know",
		Says: "A plugin that does not know the cursor sends everything in force",
	},
	{
		Name: "what is revoked stays so when the plugin is killed", Power: powerRevocations, Own: true, run: onAuth(withRevoke(testRevokeKill)),
		Does: "revokes a login, kills the plugin, revokes another one meanwhile if there is one, starts it again, and opens Revocations with the cursor of before",
		Says: "Nothing is lost when either side is started anew.",
	},
}

// toldOnce is what was in one answer.
type toldOnce struct {
	batch  []broker.Revocation
	cursor []byte
}

// line is one call of Revocations, and what came by it.
type revocationLine struct {
	what    string
	answers chan toldOnce
	err     error // when ended is closed
	ended   chan struct{}
	cancel  context.CancelFunc
	told    []broker.Revocation
	cursor  []byte // of the last answer that had one
}

// revocations opens the call; it ends with the case, if not before.
func (a *auth) revocations(t *T, what string, cursor []byte) *revocationLine {
	ctx, cancel := context.WithCancel(t.ctx)
	l := &revocationLine{what: what, answers: make(chan toldOnce, 1000), ended: make(chan struct{}), cancel: cancel}
	client := a.AuthClient
	go func() { // is waited for by end
		defer close(l.ended)
		l.err = client.Revocations(ctx, cursor, func(batch []broker.Revocation, cursor []byte) error {
			select {
			case l.answers <- toldOnce{batch, slices.Clone(cursor)}:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	t.Cleanup(l.end)
	return l
}

func (l *revocationLine) end() {
	l.cancel()
	<-l.ended
}

// next waits for an answer. False is that none has come, of which the case is told.
func (l *revocationLine) next(t *T, within time.Duration, expected string) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case one := <-l.answers:
		l.told = append(l.told, one.batch...)
		if len(one.cursor) > 0 {
			l.cursor = one.cursor
		}
		return true
	case <-l.ended:
		t.Errorf("%s: expected %s, the call ended: %v", l.what, expected, l.err)
	case <-timer.C:
		t.Errorf("%s: expected %s within %v, got %d revocations%s", l.what, expected, within, len(l.told), names(l.told))
	}
	return false
}

// first waits for the answer that comes at once.
func (l *revocationLine) first(t *T) bool {
	return l.next(t, t.plugin.within(authTime), "an answer at once, also if nothing is in force")
}

// until waits for a revocation of who, and returns it.
func (l *revocationLine) until(t *T, who *revocable, within time.Duration) (broker.Revocation, bool) {
	for {
		for _, r := range l.told {
			if who.is(r) {
				return r, true
			}
		}
		if !l.next(t, within, "that the revocation of "+who.login.Name+" is told") {
			return broker.Revocation{}, false
		}
	}
}

func names(all []broker.Revocation) string {
	var text strings.Builder
	for _, r := range all[:min(len(all), 5)] {
		fmt.Fprintf(&text, ", of %s%s%s", r.User, r.TokenID, r.Session)
	}
	return text.String()
}

// revocable is a login that can be taken back, and who it lets in before.
type revocable struct {
	login Login
	id    *broker.Identity
}

// is reports whether r takes back what w was given.
func (w *revocable) is(r broker.Revocation) bool {
	return r.User != "" && r.User == w.id.User || r.TokenID != "" && r.TokenID == w.id.TokenID
}

// withRevoke skips a case of which there is no login to revoke.
func withRevoke(run func(*T, *auth, []revocable)) func(*T, *auth) {
	return func(t *T, a *auth) {
		if t.plugin.Attach != "" {
			t.Skipf("where a plugin under a debugger has its data is not known, and so nothing can be revoked")
		}
		var all []revocable
		for i := range a.logins {
			if l := &a.logins[i]; l.Revoke != nil && l.accepted() {
				_, id := a.principal(t, l)
				if !slices.ContainsFunc(all, func(w revocable) bool { return w.id.User == id.User }) { // one more of the same would not be told apart
					all = append(all, revocable{*l, id})
				}
			}
		}
		if len(all) == 0 {
			t.Skipf("no login can be revoked: give revoke in the file of --logins, a command that does it (Login.Revoke)")
		}
		run(t, a, all)
	}
}

// revoke takes back what w was given.
func (a *auth) revoke(t *T, w *revocable) {
	if err := w.login.Revoke(t.ctx, a.dir); err != nil {
		t.Fatalf("revoke %s: %v", w.login.Name, err)
	}
}

// refused has the login refused that was let in before.
func (a *auth) refused(t *T, w *revocable, when string) {
	l := w.login
	l.Refused, l.AnyRefusal, l.Name = 0, true, when+", "+l.Name
	if err := a.login(t.Context(), l); err != nil {
		t.Error(err)
	}
}

// look is for how long a case looks at what comes by itself.
const look = 500 * time.Millisecond

// testInForce has nothing revoked: whatever the plugin says is in force must hold for who it lets in.
func testInForce(t *T, a *auth) {
	l := a.revocations(t, "a broker", nil)
	if !l.first(t) {
		return
	}
	t.wait(look)
	for len(l.answers) > 0 { // there is one: next does not wait
		l.next(t, look, "what is in force")
	}
	for i := range a.logins {
		login := &a.logins[i]
		id, err := a.asked(t, login)
		if err != nil {
			continue // another case says whether that is right
		}
		for _, r := range l.told {
			w := revocable{*login, id}
			if w.is(r) && r.Until.After(time.Now()) && (r.IssuedBefore.IsZero() || id.Issued.Before(r.IssuedBefore)) {
				t.Errorf("%s: it has told that this is revoked until %s, and lets in the user %q", login.Name, r.Until.UTC().Format(time.RFC3339), id.User)
				break
			}
		}
	}
}

// testRevocations holds the call open, as a broker does, and asks as one that comes back.
func testRevocations(t *T, a *auth) {
	for what, cursor := range map[string][]byte{"without a cursor": nil, "with a strange cursor": []byte("of another plugin")} {
		l := a.revocations(t, what, cursor)
		if !l.first(t) {
			return
		}
		timer := time.NewTimer(look)
		select {
		case <-l.ended:
			t.Errorf("%s: expected that the call stays open, it ended with %v after %d revocations", what, l.err, len(l.told))
		case <-timer.C:
		}
		timer.Stop()
	}
	a.all(t, "afterwards")
}

func testRevoke(t *T, a *auth, all []revocable) {
	w := &all[0]
	others := slices.DeleteFunc(slices.Clone(a.logins), func(l Login) bool { return l.accepted() && a.with(t, &l, w.id) })
	lines := []*revocationLine{a.revocations(t, "one broker", nil)}
	if !lines[0].first(t) {
		return
	}
	if lines = append(lines, a.revocations(t, "another broker", nil)); !lines[1].first(t) {
		return
	}
	a.revoke(t, w)
	for _, l := range lines {
		if _, told := l.until(t, w, t.patience()); !told {
			return
		}
		a.refused(t, w, "when it has been told")
	}
	b := *a
	for i := range others { // for what reason may be another now
		if !others[i].accepted() {
			others[i].Refused, others[i].AnyRefusal = 0, true
		}
	}
	b.logins = others
	b.all(t, "when "+w.login.Name+" was revoked")
	if l := a.revocations(t, "a broker that begins afterwards", nil); l.first(t) {
		l.until(t, w, t.plugin.within(authTime))
	}
}

// with reports whether l is of the user or by the token of id: then it is revoked with it.
func (a *auth) with(t *T, l *Login, id *broker.Identity) bool {
	_, other := a.principal(t, l)
	return other.User == id.User || other.TokenID != "" && other.TokenID == id.TokenID
}

func testUntil(t *T, a *auth, all []revocable) {
	w := &all[0]
	l := a.revocations(t, "a broker", nil)
	if !l.first(t) {
		return
	}
	a.revoke(t, w)
	r, told := l.until(t, w, t.patience())
	if !told {
		return
	}
	if expires := w.id.Expires; !expires.IsZero() && r.Until.Before(expires) {
		t.Errorf("%s is good until %s, and its revocation has to be remembered until %s: after that the broker lets it in again",
			w.login.Name, expires.UTC().Format(time.RFC3339), r.Until.UTC().Format(time.RFC3339))
	}
	if now := time.Now(); !r.Until.After(now) {
		t.Errorf("expected a revocation that is not over, it has until_ms of %s", r.Until.UTC().Format(time.RFC3339))
	}
	if issued := w.id.Issued; !r.IssuedBefore.IsZero() && !issued.IsZero() && !issued.Before(r.IssuedBefore) {
		t.Errorf("%s was issued at %s, and its revocation spares what was issued at %s or later", w.login.Name, issued.UTC().Format(time.RFC3339),
			r.IssuedBefore.UTC().Format(time.RFC3339))
	}
}

func testCursor(t *T, a *auth, all []revocable) {
	live := a.revocations(t, "the broker that is there all the time", nil)
	if !live.first(t) {
		return
	}
	at := [][]byte{live.cursor} // before any, after the first, ...
	for i := range all {
		a.revoke(t, &all[i])
		if _, told := live.until(t, &all[i], t.patience()); !told {
			return
		}
		at = append(at, live.cursor)
	}
	for after, cursor := range at {
		what := fmt.Sprintf("a broker that comes back with the cursor behind %d of %d revocations", after, len(all))
		if len(cursor) == 0 {
			what, after = "a broker that has no cursor, because it was given none", 0
		}
		l := a.revocations(t, what, cursor)
		if !l.first(t) || !l.all(t, all[after:]) {
			return
		}
		for i := range all[:after] {
			if slices.ContainsFunc(l.told, all[i].is) {
				t.Errorf("%s: expected only what came later, it is told of %s again", what, all[i].login.Name)
			}
		}
	}
	if l := a.revocations(t, "a broker that comes with a strange cursor", []byte("of another plugin")); l.first(t) {
		l.all(t, all)
	}
}

// all waits for all of these, which are in force and therefore told at once.
func (l *revocationLine) all(t *T, of []revocable) bool {
	for i := range of {
		if _, told := l.until(t, &of[i], t.plugin.within(authTime)); !told {
			return false
		}
	}
	return true
}

func testRevokeKill(t *T, a *auth, all []revocable) {
	l := a.revocations(t, "a broker", nil)
	if !l.first(t) {
		return
	}
	a.revoke(t, &all[0])
	if _, told := l.until(t, &all[0], t.patience()); !told {
		return
	}
	a.process.kill()
	later := all[1:min(len(all), 2)]
	for i := range later {
		a.revoke(t, &later[i])
	}
	a.start(t)
	a.refused(t, &all[0], "after a kill")
	for i := range later {
		a.refused(t, &later[i], "revoked while the plugin was away")
	}
	if l := a.revocations(t, "a broker with the cursor of before the kill", l.cursor); l.first(t) {
		l.all(t, later)
	}
	if l := a.revocations(t, "a broker that begins after the kill", nil); l.first(t) {
		l.all(t, all[:1+len(later)])
	}
}
