package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// everyDoor is a request by each way in, about the topics of a user.
var everyDoor = []struct{ name, transport, method, path, body string }{
	{"publish", "http", "POST", "/v1/topics/%s.a?retain=true", "1"},
	{"publish in an envelope", "http", "POST", "/v1/publish", `{"topic":"%s.a","data":1}`},
	{"publish to several", "http", "POST", "/v1/publish", `{"topics":["%[1]s.a","%[1]s.b"],"data":1}`},
	{"clear", "http", "DELETE", "/v1/topics/%s.gone", ""},
	{"read", "http", "GET", "/v1/topics/%s.a", ""},
	{"history", "http", "GET", "/v1/topics/%s.a/history", ""},
	{"presence", "http", "GET", "/v1/presence?filter=%s.a", ""},
	{"stream", "sse", "GET", "/v1/subscribe?filter=%s.>", ""},
	{"poll", "poll", "GET", "/v1/subscribe?filter=%s.>&mode=poll&wait=1s", ""},
}

// enter makes the i-th request of everyDoor about user's topics. Of a stream it takes the head alone.
func (d *door) enter(i int, user string, header ...string) (*http.Response, string) {
	d.t.Helper()
	fill := func(text string) string {
		if strings.Contains(text, "%") {
			return fmt.Sprintf(text, user)
		}
		return text
	}
	way := everyDoor[i]
	req, err := http.NewRequestWithContext(d.t.Context(), way.method, d.url+fill(way.path), strings.NewReader(fill(way.body)))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") == typeEvents {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp, string(body)
}

// application knows the sessions of two users by cookie, in one tenant, and notes what it is asked.
type application struct{ asked []broker.Credentials }

func (a *application) authenticate(c broker.Credentials) (*broker.Identity, error) {
	a.asked = append(a.asked, c)
	cookie := strings.Join(c.Header["Cookie"], "; ")
	user, known := strings.CutPrefix(cookie, "theme=dark; sid=")
	if !known || c.Header.Get("X-Tenant") != "one" || c.Token != "" {
		return nil, protocol.Errorf(protocol.CodeTokenMissing, "nobody is logged in")
	}
	all := broker.ActionPublish | broker.ActionSubscribe | broker.ActionHistory | broker.ActionPresence
	return &broker.Identity{User: user, Grants: []broker.Grant{{Actions: all, Filter: user + ".>"}}}, nil
}

func newApplication(t *testing.T, o Options) (*door, *application) {
	t.Helper()
	o.AuthHeaders = []string{"cookie", "x-tenant"}
	d, app := newDoor(t, o), &application{}
	d.authenticate = app.authenticate
	return d, app
}

const (
	ada, zoe = "Cookie: theme=dark; sid=ada", "Cookie: theme=dark; sid=zoe"
	tenant   = "X-Tenant: one"
)

// CON-5: every door tells the authenticator the headers that are configured and no others, and who shows another cookie is somebody else, also
// at the next moment, from the same address.
func TestEveryDoorKnowsASessionByItsHeaders(t *testing.T) {
	d, app := newApplication(t, Options{Origins: []string{"https://app.example"}})
	for i, way := range everyDoor {
		t.Run(way.name, func(t *testing.T) {
			for range 2 { // the second time from memory
				for _, tc := range []struct {
					of     string
					header []string
					code   string
				}{
					{"ada", []string{ada, tenant}, ""},
					{"ada", []string{zoe, tenant}, "forbidden"},
					{"zoe", []string{zoe, tenant}, ""},
					{"zoe", []string{ada, tenant}, "forbidden"},
					{"ada", []string{ada, "X-Tenant: two"}, "token_missing"},
					{"ada", []string{ada, tenant, "Authorization: Bearer x"}, "token_missing"},
					{"ada", []string{ada}, "token_missing"},
					{"ada", []string{tenant}, "token_missing"},
					{"ada", nil, "token_missing"},
				} {
					resp, body := d.enter(i, tc.of, append(tc.header, "User-Agent: x", "X-Other: y")...)
					let := resp.StatusCode == http.StatusOK || way.name == "history" && resp.StatusCode == http.StatusNotImplemented // there is no store
					if let != (tc.code == "") || !strings.Contains(body, tc.code) {
						t.Errorf("%s's topics with %q: %s %s, want %q", tc.of, tc.header, resp.Status, body, tc.code)
					}
				}
			}
			of := func(session string) func(broker.Credentials) bool {
				return func(c broker.Credentials) bool {
					return c.Transport == way.transport && cmp.Equal(c.Header, http.Header{"Cookie": {"theme=dark; sid=" + session}, "X-Tenant": {"one"}}) && c.Token == ""
				}
			}
			if !slices.ContainsFunc(app.asked, of("ada")) || !slices.ContainsFunc(app.asked, of("zoe")) {
				t.Errorf("the authenticator was not asked as it should have been: %+v", app.asked)
			}
		})
	}
	good := 0
	for _, c := range app.asked {
		if c.Token == "" && len(c.Header) == 2 && c.Header.Get("X-Tenant") == "one" {
			good++
		}
	}
	if want := 2 * 3; good != want { // sessions, transports
		t.Errorf("the authenticator was asked %d times about the two sessions, want %d", good, want)
	}
	if log := d.log.String(); strings.Contains(log, "sid=") {
		t.Errorf("the log holds a cookie: %s", log)
	}
}

// J28: pages of other sites come with the visitor's cookies, because browsers send them. No door takes those, whatever the request looks like, and
// nobody is asked who it is.
func TestNoDoorTakesCookiesFromForeignPages(t *testing.T) {
	d, app := newApplication(t, Options{Origins: []string{"https://app.example", "*"}})
	for i, way := range everyDoor {
		t.Run(way.name, func(t *testing.T) {
			before := d.Position()
			for _, page := range []string{
				"Origin: https://evil.test", "Origin: null", "Origin: https://evil.app.example", "Origin: http://app.example",
				"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: ",
			} {
				for _, typed := range []string{"X-Simple: no", "Content-Type: text/plain"} { // the latter needs no preflight
					resp, body := d.enter(i, "ada", ada, tenant, page, typed)
					if typed == "Content-Type: text/plain" && resp.StatusCode == http.StatusUnsupportedMediaType {
						continue
					}
					if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, `"bad_origin"`) {
						t.Errorf("%s: %s %s, want bad_origin", page, resp.Status, body)
					}
					if resp.Header.Get("Access-Control-Allow-Credentials") != "" {
						t.Errorf("%s may send cookies", page)
					}
				}
			}
			if len(app.asked) > 0 || d.Position() != before {
				t.Errorf("asked %v, and the log went from %v to %v", app.asked, before, d.Position())
			}
		})
	}
}

// The pages that may send cookies may read what every door answers: good news and bad, in the browser's words.
func TestEveryDoorAnswersThePagesThatMaySendCookies(t *testing.T) {
	d, _ := newApplication(t, Options{Origins: []string{"https://app.example"}})
	for i, way := range everyDoor {
		for _, session := range []string{ada, zoe, "Cookie: theme=dark"} {
			resp, body := d.enter(i, "ada", session, tenant, "Origin: https://app.example")
			h := resp.Header
			if h.Get("Access-Control-Allow-Origin") != "https://app.example" || h.Get("Access-Control-Allow-Credentials") != "true" || !slices.Contains(h["Vary"], "Origin") {
				t.Errorf("%s with %s: %s %v %s", way.name, session, resp.Status, h, body)
			}
		}
	}
}

// revoker lets everybody in as ann and revokes what it is sent.
type revoker struct{ take chan broker.Revocation }

func (r *revoker) Authenticate(context.Context, broker.Credentials) (*broker.Identity, error) {
	id := *broker.Everybody()
	id.User, id.TokenID, id.Issued = "ann", "login-1", time.Now()
	return &id, nil
}

func (r *revoker) Revocations(ctx context.Context, _ []byte, on func([]broker.Revocation, []byte) error) error {
	for {
		select {
		case v := <-r.take:
			if err := on([]broker.Revocation{v}, nil); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// G7: whoever a door remembers is refused by it at once when that has been revoked, long before it would have been forgotten.
func TestARememberedIdentityThatIsRevokedIsRefusedAtOnce(t *testing.T) {
	for name, what := range map[string]broker.Revocation{"the user": {User: "ann"}, "the login": {TokenID: "login-1"}} {
		t.Run(name, func(t *testing.T) {
			r := &revoker{take: make(chan broker.Revocation)}
			d := newDoorWith(t, Options{AuthCache: time.Hour, AuthHeaders: []string{"Cookie", "X-Tenant"}}, broker.Options{Authenticator: r})
			for range 2 {
				for i, way := range everyDoor {
					if resp, body := d.enter(i, "ann", ada, tenant); resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
						t.Fatalf("%s: %s %s", way.name, resp.Status, body)
					}
				}
			}
			if d.asked != 3 {
				t.Fatalf("asked %d times, want once for each transport", d.asked)
			}
			stream := d.stream(t, "filter=a", "Cookie", "theme=dark; sid=ada", "X-Tenant", "one")
			what.Until = time.Now().Add(time.Hour)
			r.take <- what
			r.take <- broker.Revocation{Session: "nobody's"} // taken when the first is in force
			for i, way := range everyDoor {
				resp, body := d.enter(i, "ann", ada, tenant)
				if resp.StatusCode != protocol.CodeRevoked.HTTPStatus() || !strings.Contains(body, `"revoked"`) {
					t.Errorf("%s: %s %s, want revoked", way.name, resp.Status, body)
				}
			}
			for { // what is open ends as well
				e, ok := stream.next()
				if !ok {
					t.Fatal("the stream ended without a word")
				}
				if e.name == "end" && strings.Contains(e.data, `"revoked"`) {
					break
				}
			}
		})
	}
}

// What is refused is not remembered, nor twice what is the same; and there is a bound, whatever else is shown.
func TestTheMemoryOfCredentialsIsBounded(t *testing.T) {
	d, _ := newApplication(t, Options{AuthCache: time.Hour, AuthCacheSize: 8})
	for n := range 50 {
		d.enter(0, "ada", "Cookie: theme=dark; sid=ada", fmt.Sprintf("X-Tenant: %d", n)) // refused: not remembered
		d.enter(0, "ada", ada, tenant, fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", n))    // the same: no proxy is trusted
	}
	if n := len(d.h.auth.entries); n != 1 {
		t.Errorf("%d are remembered, want one", n)
	}
	d.authenticate = func(broker.Credentials) (*broker.Identity, error) { return broker.Everybody(), nil }
	for n := range 50 {
		d.enter(0, "ada", fmt.Sprintf("Cookie: n=%d", n))
		if kept := len(d.h.auth.entries); kept > 8 {
			t.Fatalf("%d are remembered, want at most 8", kept)
		}
	}
}
