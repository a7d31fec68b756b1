package authhttp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/httpapi"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// logins is an application whose answers hold for a moment only: the sessions that it knows, by cookie.
type logins struct {
	sync.Map // cookie -> user
	asked    atomic.Int64
}

func (l *logins) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.asked.Add(1)
	user, known := l.Load(r.Header.Get("Cookie"))
	if !known {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, `{"user": %q, "grants": {"publish": ["chat.{user}"], "subscribe": ["chat.{user}"]}, "expires_in": 0.3}`, user)
}

// serve is a broker that asks the application, with both of its doors. It gives no time for clocks.
func (l *logins) serve(t *testing.T) (url string) {
	t.Helper()
	a := newAuth(t, Config{Remember: never}, l.ServeHTTP)
	b, err := broker.New(broker.Options{Authenticator: a, ExpiryLeeway: time.Millisecond, PingEvery: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	h, err := httpapi.New(b, httpapi.Options{AuthHeaders: []string{"Cookie"}})
	if err != nil {
		t.Fatal(err)
	}
	sockets := ws.New(b, ws.Options{Rules: h.Rules()})
	h.HandleWebSocket(sockets)
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		b.Close()
		s.Close()
		h.Wait()
		sockets.Wait()
	})
	return s.URL
}

// [REC-3], CON-5: an answer that holds for a while (expires_in) is asked for again when that is over, by the client that comes back with its
// cookie. It misses nothing while it is logged in; when it is not any more, it ends, and so does what is open over HTTP.
func TestASessionLastsAsLongAsTheLogin(t *testing.T) {
	l := &logins{}
	l.Store("sid=ada", "ada")
	l.Store("sid=zoe", "zoe")
	url := l.serve(t)
	open := func(cookie string) *carillon.Client {
		c, err := carillon.Dial(t.Context(), strings.Replace(url, "http", "ws", 1)+"/ws",
			carillon.WithHTTPHeader(http.Header{"Cookie": {cookie}}), carillon.WithBackoff(time.Millisecond, 20*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(t.Context()) })
		return c
	}
	ada, zoe := open("sid=ada"), open("sid=zoe")
	sub := zoe.Subscribe("chat.zoe", carillon.NoRetained())
	if err := sub.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := zoe.Status().Session

	stream, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/subscribe?filter=$user.ada.%3E", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream.Header.Set("Cookie", "sid=ada")
	resp, err := http.DefaultClient.Do(stream)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(bufio.NewReader(resp.Body))
	if err != nil || !strings.Contains(string(text), `"token_expired"`) {
		t.Errorf("the stream ended with %q, %v", text, err)
	}

	l.Delete("sid=ada")
	select {
	case <-ada.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the client of who has logged out goes on")
	}
	if s := ada.Status(); protocol.CodeOf(s.Err) != protocol.CodeTokenMissing {
		t.Errorf("the client of who has logged out: %+v", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	n := 0
	for before := l.asked.Load(); l.asked.Load() < before+2; n++ { // it comes back twice, at least
		if _, err := zoe.Publish(ctx, "chat.zoe", n); err != nil {
			t.Fatalf("the client of who is logged in: %v", err)
		}
		<-tick.C
	}
	next := 0
	for m, err := range sub.Messages(ctx) {
		var got int
		if err != nil || m.Decode(&got) != nil || got != next {
			t.Fatalf("message %d is %v, %v", next, m, err)
		}
		if next++; next == n {
			break
		}
	}
	if s := zoe.Status(); s.State == carillon.StateClosed || s.Session == first {
		t.Errorf("the client of who is logged in: %+v", s)
	}
}
