package plugintest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// decided asks about c and notes what is no decision, or lets somebody in by name who has shown nothing.
func (a *auth) decided(t *T, what string, c broker.Credentials) {
	ctx, cancel := context.WithTimeout(t.ctx, t.plugin.within(authTime))
	defer cancel()
	id, err := a.Authenticate(ctx, c)
	if err == nil && id.User != "" { // a plugin may know anonymous clients
		t.Errorf("%s: expected a refusal, got the user %q", what, cutTo(id.User, 60))
	}
	refusal, refused := errors.AsType[*protocol.Error](err)
	if err != nil && !refused {
		t.Errorf("%s: expected a decision within %v, got: %v", what, authTime, err)
	}
	if refused && shows(refusal, c.Token) {
		t.Errorf("%s: expected a refusal without a part of the token in its text, got %s", what, short(refusal.Detail))
	}
}

func testHostile(t *T, a *auth) {
	began := time.Now()
	for _, token := range []string{
		"", " ", ".", "..", "....", "\x00", "a\x00b", "null", "{}", "Bearer ", "a.b.c", strings.Repeat("a", 8<<10), strings.Repeat(".", 8<<10),
		strings.Repeat("e30.", 2000), "\ufffd\ufffe", "eyJhbGciOiJub25lIn0.e30.", strings.Repeat("[", 8<<10), "../../../../etc/passwd", "' OR 1=1 --",
		"%s%n%x", "\r\nX-Admin: 1", "{{7*7}}", "$(id)", "-1", "\u202etxt.exe", strings.Repeat("ü", 4<<10),
	} {
		a.decided(t, "the token "+short(token), broker.Credentials{Token: token, Transport: "ws", Remote: "192.0.2.1"})
		if t.Failed() && time.Since(began) > authTime { // it does not answer: the others would take as long
			break
		}
	}
	a.all(t, "afterwards")
}

func testHeaders(t *T, a *auth) {
	many := http.Header{}
	for i := range 100 {
		many.Add("Cookie", strings.Repeat("a", i)+"=1")
		many.Add(strings.Repeat("X", i+1), "1")
	}
	for what, h := range map[string]http.Header{
		"many":            many,
		"a NUL":           {"Cookie": {"session=\x00"}, "\x00": {"\x00"}},
		"no values":       {"Cookie": nil, "Authorization": {}},
		"an empty name":   {"": {"x"}},
		"many values":     {"Authorization": {"Bearer a", "Basic b", "", "Bearer"}},
		"no UTF-8":        {"Cookie": {"a=\xff\xfe"}},
		"a long value":    {"Cookie": {strings.Repeat("a=b; ", 12<<10)}},
		"broken cookies":  {"Cookie": {"=;=;;==; a", `a="`, "session"}},
		"broken base64":   {"Authorization": {"Basic ====", "Basic \x80"}},
		"a proxy's words": {"X-Forwarded-For": {"127.0.0.1, ::1"}, "X-User": {"root"}},
	} {
		a.decided(t, "headers: "+what, broker.Credentials{Header: h, Transport: "sse", Remote: "192.0.2.1"})
	}
	for _, transport := range []string{"ws", "sse", "poll", "http", "of-a-later-version", ""} {
		for _, remote := range []string{"", "2001:db8::1", "not an address"} {
			a.decided(t, "transport "+short(transport)+", remote "+short(remote), broker.Credentials{Transport: transport, Remote: remote})
		}
	}
	a.all(t, "afterwards")
}

// testAltered changes good tokens, which makes bad ones of them, whatever they are made of.
func testAltered(t *T, a *auth) {
	tried := false
	for _, l := range a.logins {
		good := l.Credentials.Token
		if !l.accepted() || len(good) < 4 {
			continue
		}
		tried = true
		middle := len(good) / 2
		other := byte('A')
		if good[middle] == other {
			other = 'B'
		}
		for what, token := range map[string]string{
			"without its second half": good[:middle],
			"without its first half":  good[middle:],
			"with one byte changed":   good[:middle] + string(other) + good[middle+1:],
			"twice":                   good + good,
			"and more behind":         good + "x",
			"and more before":         "x" + good,
			"and NUL behind":          good + "\x00",
			"and NUL and more behind": good + "\x00x",
			"and a NUL before":        "\x00" + good,
		} {
			altered := l.Credentials
			altered.Token = token
			a.decided(t, "a good token "+what, altered)
		}
	}
	if !tried {
		t.Skipf("no login that is accepted has a token")
	}
}

// testBusy asks for the health while many are asking for decisions. A broker gives a plugin up after three misses in a row.
func testBusy(t *T, a *auth) {
	const pause, misses = 20 * time.Millisecond, 3
	ctx, cancel := context.WithCancel(t.ctx)
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for i := caller; ctx.Err() == nil; i++ {
				_ = a.login(ctx, a.logins[i%len(a.logins)]) // another case looks at the answers
				t.wait(pause)
			}
		})
	}
	missed := 0
	for range 20 {
		err := a.process.serving(t.ctx)
		if missed++; err == nil {
			missed = 0
		}
		if missed == misses {
			t.Errorf("health while %d callers ask for decisions: expected SERVING within %v, got, %d times in a row: %v", callers, healthTime, misses, err)
			break
		}
	}
	cancel()
	group.Wait()
}
