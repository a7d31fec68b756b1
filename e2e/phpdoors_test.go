package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// wayIn is a request about what is a user's own: publishing, a stream of events, a long-poll.
type wayIn struct{ method, path, body string }

var waysIn = map[string]wayIn{
	"publish": {http.MethodPost, "/v1/topics/chat.USER", "1"},
	"stream":  {http.MethodGet, "/v1/subscribe?filter=$user.USER.%3E", ""},
	"poll":    {http.MethodGet, "/v1/subscribe?filter=$user.USER.%3E&mode=poll&wait=1s", ""},
}

// enter makes the request with the header. Of a stream it reads nothing; text is any other body.
func (a *phpApp) enter(way wayIn, user string, header http.Header) (status int, text string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), way.method, "http://"+a.b.listen+strings.ReplaceAll(way.path, "USER", user), strings.NewReader(way.body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header = header.Clone()
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") == "text/event-stream" {
		return resp.StatusCode, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// browser is what a browser sends with the requests of the application's page.
func browser(cookie string) http.Header {
	return http.Header{"Cookie": {"theme=dark; " + cookie}, "Origin": {"https://app.example"}}
}

// logOut ends the session in the application.
func (a *phpApp) logOut(cookie string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, "http://"+a.addr+"/logout.php", http.NoBody)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Cookie", cookie)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		a.t.Fatalf("logout: %s", resp.Status)
	}
}

// stream is an EventSource of the application's page, on what is a user's own. done gets what ended it for good.
func (a *phpApp) stream(cookie, user string) (s *eventSource, done <-chan error) {
	a.t.Helper()
	s = &eventSource{
		url: "http://" + a.b.listen + strings.ReplaceAll(waysIn["stream"].path, "USER", user), header: browser(cookie),
		events: make(chan streamEvent, 100),
	}
	ctx, cancel := context.WithCancel(a.t.Context())
	over := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { over <- s.run(ctx) })
	a.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	s.want(a.t, "live")
	return s, over
}

// CON-5: who is logged in to the application is so at every door, by the same cookie, and nobody else is taken for him who comes from the same
// address; and out, when he has logged out.
func TestAPHPSessionIsALoginAtEveryDoor(t *testing.T) {
	a := newPHPApp(t)
	ada, zoe := a.logIn("42"), a.logIn("43")
	page := a.orders(a.open(ada), "42")
	stream, _ := a.stream(ada, "42")
	_, first := a.enter(waysIn["poll"], "42", browser(ada))
	var polled struct{ Cursor string }
	if err := json.Unmarshal([]byte(first), &polled); err != nil {
		t.Fatalf("%v: %s", err, first)
	}

	a.push("42", "everywhere")
	a.wantOrder(page, "everywhere")
	if e := stream.want(t, "message"); !strings.Contains(e.data, `"everywhere"`) {
		t.Errorf("the stream has %v", e)
	}
	next := waysIn["poll"]
	next.path += "&after=" + url.QueryEscape(polled.Cursor)
	if status, text := a.enter(next, "42", browser(ada)); status != http.StatusOK || !strings.Contains(text, `"everywhere"`) {
		t.Errorf("the poll: %d %s", status, text)
	}

	for name, way := range waysIn {
		for range 2 { // the second time the broker remembers who it is
			for _, as := range []struct{ cookie, user, code string }{
				{ada, "42", ""}, {zoe, "43", ""}, {ada, "43", "forbidden"}, {zoe, "42", "forbidden"}, {"PHPSESSID=0123456789abcdef0123456789", "42", "token_missing"},
			} {
				status, text := a.enter(way, as.user, browser(as.cookie))
				if (status == http.StatusOK) != (as.code == "") || !strings.Contains(text, as.code) {
					t.Errorf("%s what is %s's: %d %s, want %q", name, as.user, status, text, as.code)
				}
			}
		}
	}

	a.logOut(ada)
	if _, err := a.page(t.Context(), ada); protocol.CodeOf(err) != protocol.CodeTokenMissing {
		t.Errorf("a page of who has logged out: %v", err)
	}
	for name, way := range waysIn {
		eventually(t, 20*time.Second, name+" is refused after the logout", func() bool {
			status, text := a.enter(way, "42", browser(ada))
			return status == http.StatusUnauthorized && strings.Contains(text, `"token_missing"`)
		})
		if status, text := a.enter(way, "43", browser(zoe)); status != http.StatusOK {
			t.Errorf("%s of who has not logged out: %d %s", name, status, text)
		}
	}
}

// [REC-3]: what is open lasts as long as the application has said (expires_in) and the broker's 30 s for clocks. Then who is logged in comes
// back with the same cookie, misses nothing, and needs no code for it; who has logged out does not. It takes more than half a minute: a campaign's.
func TestALogoutEndsWhatIsOpen(t *testing.T) {
	if count(0, 1) == 0 {
		t.Skip("takes more than 30 s: CARILLON_CAMPAIGN=1")
	}
	a := newPHPApp(t, "EXPIRES_IN=2")
	ada, zoe := a.logIn("42"), a.logIn("43")
	adasPage, zoesPage := a.open(ada), a.open(zoe)
	adasOrders, zoesOrders := a.orders(adasPage, "42"), a.orders(zoesPage, "43")
	_, adasStream := a.stream(ada, "42")
	zoesStream, _ := a.stream(zoe, "43")
	session := zoesPage.Status().Session
	a.push("42", "before")
	a.wantOrder(adasOrders, "before")
	a.logOut(ada)
	select {
	case <-adasPage.Done():
	case <-time.After(time.Minute):
		t.Fatal("the page of who has logged out is still open")
	}
	if err := adasPage.Status().Err; protocol.CodeOf(err) != protocol.CodeTokenMissing {
		t.Errorf("the page of who has logged out: %v", err)
	}
	select {
	case err := <-adasStream:
		if err == nil || !strings.Contains(err.Error(), "token_missing") {
			t.Errorf("the stream of who has logged out: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the stream of who has logged out is still open")
	}
	eventually(t, time.Minute, "the other page has come back", func() bool {
		s := zoesPage.Status()
		return s.State == carillon.StateConnected && s.Session != session
	})
	a.push("43", "after")
	a.wantOrder(zoesOrders, "after")
	for {
		if e := zoesStream.next(t); e.name == "message" && strings.Contains(e.data, `"after"`) {
			break
		} else if e.name == "gap" {
			t.Fatalf("the stream has a gap: %v", e)
		}
	}
	if _, err := zoesPage.Publish(t.Context(), "chat.43", 1); err != nil {
		t.Errorf("the page that has come back publishes: %v", err)
	}
}
