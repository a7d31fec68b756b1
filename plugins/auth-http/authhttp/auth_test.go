package authhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newAuth asks handler.
func newAuth(t testing.TB, c Config, handler http.HandlerFunc) *Auth {
	t.Helper()
	app := httptest.NewUnstartedServer(handler)
	app.Config.ErrorLog = log.New(io.Discard, "", 0)
	app.Start()
	if !strings.Contains(c.URL, "://") {
		c.URL = app.URL + c.URL
	}
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = a.Close()
		app.Close()
	})
	return a
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// secretCookie is what no error and no refusal may show.
const secretCookie = "PHPSESSID=c0ffee-secret"

func withCookie() broker.Credentials {
	return broker.Credentials{Transport: "ws", Remote: "192.0.2.7", Header: http.Header{"Cookie": {secretCookie}}}
}

func TestTheApplicationIsAskedAsTheClientCame(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		var got *http.Request
		var body []byte
		a := newAuth(t, Config{URL: "/who?x=1", Method: method}, func(w http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
			_, _ = io.WriteString(w, `{"user": "ada"}`)
		})
		c := withCookie()
		c.Token = "tok"
		c.Header["User-Agent"] = []string{"Ada's browser"}
		c.Header["Connection"], c.Header["Content-Length"] = []string{"upgrade"}, []string{"99"}
		if _, err := a.Authenticate(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"Cookie": secretCookie, "Authorization": "Bearer tok", "User-Agent": "Ada's browser", "Accept": "application/json",
			"Carillon-Transport": "ws", "Carillon-Remote": "192.0.2.7", "Connection": "",
		}
		for name, value := range want {
			if got.Header.Get(name) != value {
				t.Errorf("%s: %s: %q, want %q", method, name, got.Header.Get(name), value)
			}
		}
		wantBody := map[string]string{http.MethodGet: "", http.MethodPost: `{"remote":"192.0.2.7","transport":"ws"}`}[method]
		if got.Method != method || got.URL.String() != "/who?x=1" || string(body) != wantBody {
			t.Errorf("%s %s %q, want %s %q", got.Method, got.URL, body, method, wantBody)
		}
	}
}

func TestAnswersOfTheApplication(t *testing.T) {
	const noDecision = protocol.CodeInternal
	grants := Grants{Subscribe: []string{"news.>", "mine.{user}"}}
	for _, test := range []struct {
		name   string
		status int
		body   string
		code   protocol.Code // 0: let in
		want   string        // the identity's user and filters, or what the error says
	}{
		{"a user", 200, `{"user": "ada"}`, 0, "ada news.> mine.ada"},
		{"a number", 200, `{"user": 42}`, 0, "42 news.> mine.42"},
		{"a user who would be a wildcard", 200, `{"user": "a.>"}`, 0, "a.> news.> mine.a%2E%3E"},
		{"PHP's empty arrays", 200, `{"user": "a", "grants": [], "limits": [], "attributes": []}`, 0, "a news.> mine.a"},
		{"grants", 200, `{"user": "a", "grants": {"publish": ["x.{user}.y"], "history": ["h"]}}`, 0, "a news.> mine.a x.a.y h"},
		{"nobody in particular", 200, `{"anonymous": true, "grants": {"publish": ["x"]}}`, 0, " news.> x"},
		{"nobody is logged in", 401, `<html>`, protocol.CodeTokenMissing, "nobody is logged in"},
		{"nobody, in its own words", 401, `{"detail": "Your session has\nended."}`, protocol.CodeTokenMissing, "Your session has ended."},
		{"locked out", 403, ``, protocol.CodeKicked, "does not let this user in"},
		{"locked out, in its own words", 403, `{"detail": "Pay first."}`, protocol.CodeKicked, "Pay first."},
		{"a redirect to the login", 302, ``, noDecision, "redirects (302)"},
		{"an error", 500, `{"user": "ada"}`, noDecision, "status 500"},
		{"not found", 404, ``, noDecision, "status 404"},
		{"no content", 204, ``, noDecision, "status 204"},
		{"too many", 429, ``, noDecision, "status 429"},
		{"an error with a long page", 500, strings.Repeat("<p>", maxAnswerBytes), noDecision, "status 500"},
		{"a redirect with a long page", 302, strings.Repeat("<p>", maxAnswerBytes), noDecision, "redirects (302)"},
		{"nobody, with a long page", 401, strings.Repeat("<p>", maxAnswerBytes), protocol.CodeTokenMissing, "nobody is logged in"},
		{"locked out with a long page", 403, strings.Repeat("<p>", maxAnswerBytes), protocol.CodeKicked, "does not let this user in"},
		{"a page", 200, `<html>login</html>`, noDecision, "not the JSON that is wanted"},
		{"nothing", 200, ``, noDecision, "not the JSON that is wanted"},
		{"a PHP notice in front", 200, "Notice: x\n" + `{"user": "ada"}`, noDecision, "not the JSON"},
		{"a PHP notice behind", 200, `{"user": "ada"} Notice`, noDecision, "something follows"},
		{"false", 200, `false`, noDecision, "not the JSON"},
		{"a list", 200, `[]`, noDecision, "not the JSON"},
		{"null", 200, `null`, noDecision, "neither user nor anonymous"},
		{"no user", 200, `{}`, noDecision, "neither user nor anonymous"},
		{"user null", 200, `{"user": null}`, noDecision, "neither user nor anonymous"},
		{"user empty", 200, `{"user": ""}`, noDecision, "user is not 1 to 255 bytes"},
		{"user false", 200, `{"user": false}`, noDecision, "neither a string nor a whole number"},
		{"half a user", 200, `{"user": 1.5}`, noDecision, "neither a string nor a whole number"},
		{"a long user", 200, `{"user": "` + strings.Repeat("a", 256) + `"}`, noDecision, "user is not"},
		{"a user with a line break", 200, `{"user": "a\nb"}`, noDecision, "user is not"},
		{"user and anonymous", 200, `{"user": "a", "anonymous": true}`, noDecision, "both"},
		{"not UTF-8", 200, "{\"user\": \"\xff\"}", noDecision, "not UTF-8"},
		{"a misspelt member", 200, `{"user": "a", "grant": {}}`, noDecision, `"grant"`},
		{"a misspelt right", 200, `{"user": "a", "grants": {"subscriptions": ["x"]}}`, noDecision, `"subscriptions"`},
		{"a right that is no list", 200, `{"user": "a", "grants": {"subscribe": "x"}}`, noDecision, "not the JSON"},
		{"a bad filter", 200, `{"user": "a", "grants": {"subscribe": ["a..b"]}}`, noDecision, `grants.subscribe[0]: "a..b"`},
		{"another name in braces", 200, `{"user": "a", "grants": {"subscribe": ["x.{sub}"]}}`, noDecision, "{user} has to be a whole level"},
		{"expired already", 200, `{"user": "a", "expires_in": 0}`, noDecision, "expires_in"},
		{"expires as a time", 200, `{"user": "a", "expires_in": 1795275000}`, noDecision, "expires_in"},
		{"expires as text", 200, `{"user": "a", "expires_in": "soon"}`, noDecision, "not the JSON"},
		{"an unknown limit", 200, `{"user": "a", "limits": {"rate": 1}}`, noDecision, `"rate"`},
		{"a limit of 0", 200, `{"user": "a", "limits": {"sessions": 0}}`, noDecision, "a limit is neither"},
		{"an attribute that is a number", 200, `{"user": "a", "attributes": {"x": 1}}`, noDecision, "not the JSON"},
		{"an attribute with NUL", 200, `{"user": "a", "attributes": {"x": "\u0000"}}`, noDecision, "attribute"},
		{"too many grants", 200, `{"user": "a", "grants": {"publish": [` + strings.Repeat(`"a",`, 1000) + `"a"]}}`, noDecision, "1003 grants"},
		{"too long", 200, `{"user": "a"` + strings.Repeat(" ", maxAnswerBytes) + `}`, noDecision, "more than 65536 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAuth(t, Config{Grants: grants}, func(w http.ResponseWriter, r *http.Request) {
				if test.status == 302 {
					w.Header().Set("Location", "/login.php")
				}
				says(test.status, test.body)(w, r)
			})
			id, err := a.Authenticate(t.Context(), withCookie())
			if test.code != 0 {
				if id != nil || protocol.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v, %v; want %v: …%s…", id, err, test.code, test.want)
				}
				if strings.Contains(err.Error(), "c0ffee") {
					t.Errorf("the cookie is in %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := id.User
			for _, g := range id.Grants {
				got += " " + g.Filter
			}
			if got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestEverythingThatAnAnswerMaySayIsTaken(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	got, err := readAnswer([]byte(`{
		"user": "ada", "token_id": "s1", "expires_in": 1.5,
		"grants": {"publish": ["p"], "subscribe": ["s"], "history": ["h"], "presence": ["r"], "exclude": ["e"]},
		"limits": {"publish_rate": 1, "publish_bytes": 2, "subscriptions": "unlimited", "subscribe_rate": 4, "sessions": 5},
		"attributes": {"name": "Ada"}
	}`), Grants{}, now)
	want := &broker.Identity{
		User: "ada", TokenID: "s1", Issued: now, Expires: now.Add(1500 * time.Millisecond),
		Grants: []broker.Grant{
			{Actions: broker.ActionPublish, Filter: "p"},
			{Actions: broker.ActionSubscribe, Filter: "s"},
			{Actions: broker.ActionHistory, Filter: "h"},
			{Actions: broker.ActionPresence, Filter: "r"},
			{Actions: broker.ActionExclude, Filter: "e"},
		},
		Limits:     broker.SessionLimits{PublishRate: 1, PublishBytes: 2, Subscriptions: broker.Unlimited, SubscribeRate: 4, SessionsOfUser: 5},
		Attributes: map[string]string{"name": "Ada"},
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}

func TestAnApplicationThatIsAwayOrHangsDecidesNothing(t *testing.T) {
	release := make(chan struct{})
	hangs := newAuth(t, Config{Timeout: 50 * time.Millisecond, Concurrency: 1}, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	away := newAuth(t, Config{URL: "http://127.0.0.1:1/who"}, nil)
	for name, a := range map[string]*Auth{"hangs": hangs, "away": away} {
		id, err := a.Authenticate(t.Context(), withCookie())
		if id != nil || err == nil || protocol.CodeOf(err) != protocol.CodeInternal || strings.Contains(err.Error(), "c0ffee") {
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := hangs.Authenticate(ctx, withCookie()); !errors.Is(err, context.Canceled) {
		t.Errorf("who does not wait: %v", err)
	}
}

// An application may know its broker by a key in the query. What is wrong is logged, so it names the address without that.
func TestAKeyInTheQueryOfTheURLIsInNoError(t *testing.T) {
	away := newAuth(t, Config{URL: "http://127.0.0.1:1/who?key=c0ffee"}, nil)
	odd := newAuth(t, Config{URL: "/who?key=c0ffee"}, says(http.StatusOK, "<br>Notice"))
	moved := newAuth(t, Config{URL: "/who?key=c0ffee"}, says(http.StatusTeapot, ""))
	for name, a := range map[string]*Auth{"away": away, "no JSON": odd, "another status": moved} {
		_, err := a.Authenticate(t.Context(), withCookie())
		if err == nil || strings.Contains(err.Error(), "c0ffee") || !strings.Contains(err.Error(), "GET http://127.0.0.1:") || !strings.Contains(err.Error(), "/who?…: ") {
			t.Errorf("%s: found %v, wanted method and address without the query", name, err)
		}
	}
}

func TestWhatCanNotBeSentIsRefusedAndNotAsked(t *testing.T) {
	a := newAuth(t, Config{}, func(http.ResponseWriter, *http.Request) { t.Error("the application was asked") })
	for _, c := range []broker.Credentials{
		{Token: "a\x00b"},
		{Token: "a b"},
		{Token: "a\r\nCookie: x"},
		{Token: "\u00e9"},
		{Token: "\xff"},
		{Header: http.Header{"Cookie": {"a\nb"}}},
		{Header: http.Header{"Cookie": {"a\x7f"}}},
		{Header: http.Header{"Cookie": {strings.Repeat("a", maxHeaderBytes)}}},
	} {
		if id, err := a.Authenticate(t.Context(), c); id != nil || protocol.CodeOf(err) != protocol.CodeTokenMalformed {
			t.Errorf("%q %q: %v, %v", c.Token, c.Header, id, err)
		}
	}
}

func TestOneQuestionAtATimeAboutTheSameAndAnAnswerForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		var refuse atomic.Bool
		m := newMemory(defaultRemember, func(context.Context, broker.Credentials) (*broker.Identity, error) {
			asked.Add(1)
			time.Sleep(100 * time.Millisecond)
			if refuse.Load() {
				return nil, protocol.Errorf(protocol.CodeTokenMissing, "nobody")
			}
			return &broker.Identity{User: "ada"}, nil
		})
		defer m.close()
		together := func(want protocol.Code) {
			t.Helper()
			errs := make(chan error, 50)
			for range cap(errs) {
				go func() {
					_, err := m.identity(t.Context(), withCookie())
					errs <- err
				}()
			}
			for range cap(errs) {
				if err := <-errs; err != nil && protocol.CodeOf(err) != want {
					t.Error(err)
				}
			}
		}
		together(0)
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times for 50 that came together, want once", n)
		}
		time.Sleep(defaultRemember - time.Second)
		together(0)
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times within the time to remember, want once", n)
		}
		time.Sleep(2 * time.Second)
		refuse.Store(true)
		together(protocol.CodeTokenMissing)
		if _, err := m.identity(t.Context(), withCookie()); protocol.CodeOf(err) != protocol.CodeTokenMissing || asked.Load() != 3 {
			t.Errorf("asked %d times, %v; want a refusal that is asked for again", asked.Load(), err)
		}
	})
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(time.Minute, nil)
		defer m.close()
		remember := func(i int) broker.Fingerprint {
			key := broker.Fingerprint{byte(i), byte(i >> 8), byte(i >> 16)}
			m.rememberLocked(key, &broker.Identity{})
			return key
		}
		for i := range maxRemembered + 10 {
			if key := remember(i); m.known[key].id == nil || len(m.known) > maxRemembered {
				t.Fatalf("remembers %d, and the newest: %v", len(m.known), m.known[key])
			}
		}
		time.Sleep(time.Minute)
		if remember(-1); len(m.known) != 1 {
			t.Errorf("remembers %d when all but one have run out", len(m.known))
		}
	})
}

func TestClosingEndsWhatIsUnderWay(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	a := newAuth(t, Config{}, func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	})
	defer close(release)
	ended := make(chan error)
	go func() {
		_, err := a.Authenticate(t.Context(), withCookie())
		ended <- err
	}()
	<-asked
	_ = a.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := a.Authenticate(t.Context(), withCookie()); !errors.Is(err, errClosed) {
		t.Error(err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"user": 42, "grants": {"subscribe": ["a.{user}.>"]}, "expires_in": 600, "limits": {"sessions": "unlimited"}, "attributes": {"a": "b"}}`))
	f.Add([]byte(`{"anonymous": true, "grants": []}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		now := time.Unix(1_800_000_000, 0)
		id, err := readAnswer(body, Grants{Subscribe: []string{"x.{user}"}}, now)
		if err != nil {
			return
		}
		if len(id.User) > maxUserBytes || strings.ContainsRune(id.User, 0) || !id.Expires.IsZero() && !id.Expires.After(now) {
			t.Fatalf("%+v", id)
		}
		for _, g := range id.Grants {
			if err := protocol.ValidateFilter(g.Filter); err != nil || g.Actions == 0 {
				t.Fatalf("%+v: %v", g, err)
			}
		}
	})
}

func TestAServiceIsKnownByItsTokenWithoutAQuestion(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	asked := 0
	a := newAuth(t, Config{Services: []Service{
		{User: "other", Secret: "fedcba9876543210fedcba9876543210"},
		{User: "shop", Secret: token, Grants: Grants{Publish: []string{">", "$user.>"}}},
	}}, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusUnauthorized)
	})
	id, err := a.Authenticate(t.Context(), broker.Credentials{Token: token})
	if err != nil || id.User != "shop" || !id.CanPublish("$user.42.orders") || asked != 0 {
		t.Errorf("%+v, %v, asked %d times", id, err, asked)
	}
	for _, wrong := range []string{token[1:], token + "x", strings.ToUpper(token)} {
		if id, err := a.Authenticate(t.Context(), broker.Credentials{Token: wrong}); protocol.CodeOf(err) != protocol.CodeTokenBadClaims {
			t.Errorf("%q: %+v, %v", wrong, id, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", a.asker.cfg.Services, a.asker.cfg, a.asker.cfg.Services); strings.Contains(text, token) {
		t.Errorf("the token is in %s", text)
	}
}
