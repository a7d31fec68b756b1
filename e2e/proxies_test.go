package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/require"
)

func TestTheProxiesOfTheDocs(t *testing.T) {
	docs, err := os.ReadFile("../docs/proxies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		t.Run(run.need, func(t *testing.T) {
			program := require.Program(t, run.need, run.program)
			snippet := regexp.MustCompile("(?s)```" + run.need + "\n(.*?)```").FindSubmatch(docs)
			if snippet == nil {
				t.Fatalf("docs/proxies.md has no block of %s", run.need)
			}
			f := openFront(t, program, string(snippet[1]), run.command)
			f.alone = run.need == "caddy"
			for name, test := range map[string]func(*testing.T, *front){
				"WebSocket":                            webSocketThrough,
				"HTTP and cookies":                     cookiesThrough,
				"events":                               eventsThrough,
				"long-poll":                            pollThrough,
				"a client is who the proxy says":       clientsAreTold,
				"a client cannot say who it is":        nobodyPretends,
				"sessions are counted by their client": sessionsAreCounted,
			} {
				t.Run(name, func(t *testing.T) { test(t, f) })
			}
		})
	}
}

func webSocketThrough(t *testing.T, f *front) {
	c, err := f.connect(t, "")
	if err != nil {
		t.Fatal(err)
	}
	sub := c.Subscribe("orders.>")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := sub.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		if _, err := c.Publish(ctx, "orders.1", n); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for m, err := range sub.Messages(ctx) {
		var got int
		if err == nil {
			err = m.Decode(&got)
		}
		if err != nil || got != n {
			t.Fatalf("got %d, %v; want %d", got, err, n)
		}
		if n++; n == 50 {
			break
		}
	}
}

// get begins a request with a token.
func (f *front) get(ctx context.Context, t *testing.T, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", "https://"+f.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token(t, "main", mistakesSecret, nil))
	resp, err := f.client(t, "127.0.0.1").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, resp.Status)
	}
	return resp
}

// eventsThrough publishes each message when the one before it has come: a proxy that holds back what is not enough for its
// buffer never lets the second be published.
func eventsThrough(t *testing.T, f *front) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	resp := f.get(ctx, t, "/v1/subscribe?filter=orders.%3E&retained=false")
	defer resp.Body.Close()
	publish := func(n int) {
		got := f.post(t, "127.0.0.1", "/v1/topics/orders."+strconv.Itoa(n), "Authorization: Bearer "+token(t, "main", mistakesSecret, nil))
		if got.status != http.StatusOK {
			t.Fatalf("publish: %+v", got)
		}
	}
	n := 0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		switch line := lines.Text(); {
		case line == "event: live":
			publish(0)
		case strings.HasPrefix(line, "data: ") && strings.Contains(line, fmt.Sprintf(`"topic":"orders.%d"`, n)):
			if n++; n == 5 {
				return
			}
			publish(n)
		}
	}
	t.Errorf("the stream ended after %d of 5 messages: %v", n, ctx.Err())
}

func pollThrough(t *testing.T, f *front) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	poll := func(after string) (answer struct {
		Cursor   string
		Messages []struct{ Topic string }
	},
	) {
		resp := f.get(ctx, t, "/v1/subscribe?filter=orders.%3E&mode=poll&wait=10s"+after)
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	began := poll("")
	got := f.post(t, "127.0.0.1", "/v1/topics/orders.poll", "Authorization: Bearer "+token(t, "main", mistakesSecret, nil))
	if got.status != http.StatusOK {
		t.Fatalf("publish: %+v", got)
	}
	next := poll("&after=" + url.QueryEscape(began.Cursor))
	if len(next.Messages) != 1 || next.Messages[0].Topic != "orders.poll" || next.Cursor == began.Cursor {
		t.Errorf("after %s came %+v", began.Cursor, next)
	}
}

func cookiesThrough(t *testing.T, f *front) {
	cookie := "Cookie: session=" + token(t, "main", mistakesSecret, nil)
	for name, tc := range map[string]struct {
		path    string
		headers []string
		status  int
		code    string
	}{
		"the broker's own page":            {"/v1/topics/orders.1", []string{cookie, "Origin: https://" + f.addr}, 200, ""},
		"a topic with a slash in its name": {"/v1/topics/orders.a%2Fb", []string{cookie}, 200, ""},
		"a listed page":                    {"/v1/topics/orders.1", []string{cookie, "Origin: https://app.example"}, 200, ""},
		"the broker's name without TLS":    {"/v1/topics/orders.1", []string{cookie, "Origin: http://" + f.addr}, 403, "bad_origin"},
		"a foreign page":                   {"/v1/topics/orders.1", []string{cookie, "Origin: https://evil.test"}, 403, "bad_origin"},
	} {
		if got := f.post(t, "127.0.0.1", tc.path, tc.headers...); got.status != tc.status || got.code != tc.code {
			t.Errorf("%s: %+v, want %d %s", name, got, tc.status, tc.code)
		}
	}
}

func clientsAreTold(t *testing.T, f *front) {
	f.post(t, "127.0.0.2", "/v1/topics/told", "Authorization: Bearer "+token(t, "main", mistakesSecret, map[string]any{"sub": "told"}))
	eventually(t, 10*time.Second, "the log names the client's address", func() bool {
		return regexp.MustCompile(`remote=127\.0\.0\.2 .*told|told.* remote=127\.0\.0\.2`).MatchString(f.b.said())
	})
}

func nobodyPretends(t *testing.T, f *front) {
	f.post(t, "127.0.0.3", "/v1/topics/liar", "X-Forwarded-For: 198.51.100.9", "Forwarded: for=198.51.100.9",
		"Authorization: Bearer "+token(t, "main", mistakesSecret, map[string]any{"sub": "liar"}))
	eventually(t, 10*time.Second, "the log names the client's address", func() bool {
		return regexp.MustCompile(`remote=127\.0\.0\.3 .*liar|liar.* remote=127\.0\.0\.3`).MatchString(f.b.said())
	})
	if strings.Contains(f.b.said(), "198.51.100.9") {
		t.Error("the log has the address that the client made up")
	}
}

// sessionsAreCounted is with a proxy before this one, on the same machine, that has written the address.
func sessionsAreCounted(t *testing.T, f *front) {
	if dropped := f.drops(t); dropped != f.alone {
		t.Fatalf("what a proxy before it wrote was dropped: %v, want %v", dropped, f.alone)
	}
	if f.alone {
		return // every client here has an address of loopback, which is not counted
	}
	for range 2 {
		if _, err := f.connect(t, "198.51.100.7"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.connect(t, "198.51.100.7")
	if err == nil || !strings.Contains(err.Error(), "session_limit: address 198.51.100.7 holds its limit of 2 sessions") {
		t.Errorf("the third session of an address: %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+f.addr+subscribePath, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token(t, "main", mistakesSecret, nil))
	req.Header.Set("X-Forwarded-For", "198.51.100.7")
	resp, err := f.client(t, "127.0.0.1").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the third session, of events: %s", resp.Status)
	}
	if _, err := f.connect(t, "198.51.100.8"); err != nil {
		t.Errorf("the first session of another address: %v", err)
	}
}

// drops reports whether the proxy drops what another one wrote.
func (f *front) drops(t *testing.T) bool {
	t.Helper()
	f.post(t, "127.0.0.1", "/v1/topics/before", "X-Forwarded-For: 198.51.100.6",
		"Authorization: Bearer "+token(t, "main", mistakesSecret, map[string]any{"sub": "before"}))
	var dropped bool
	eventually(t, 10*time.Second, "the log names the client", func() bool {
		dropped = !strings.Contains(f.b.said(), "198.51.100.6")
		return strings.Contains(f.b.said(), "before")
	})
	return dropped
}
