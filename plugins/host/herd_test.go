//go:build unix

package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/authguard"
)

// herd counts, in a plugin, who is inside at a time. Each question takes it a while.
type herd struct {
	mu           sync.Mutex
	inside       int
	most         int            // inside at a time
	sameToken    int            // most questions about one token at a time
	asked        int            // in all
	insideTokens map[string]int // by token
}

var theHerd herd // of this process

// take answers "herd figures" with what was counted.
func (h *herd) take(token string) string {
	h.mu.Lock()
	if token == "herd figures" {
		defer h.mu.Unlock()
		return fmt.Sprint(h.most, h.sameToken, h.asked)
	}
	if h.insideTokens == nil {
		h.insideTokens = map[string]int{}
	}
	h.asked++
	h.inside++
	h.insideTokens[token]++
	h.most, h.sameToken = max(h.most, h.inside), max(h.sameToken, h.insideTokens[token])
	h.mu.Unlock()
	<-time.After(20 * time.Millisecond) // as a database would
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inside--
	h.insideTokens[token]--
	return token
}

// G-19: 500 clients come back while their plugin is started again. It is asked by so many at a time and no more, about each token once at a
// time, and everybody is let in.
func TestAHerdComesBackToAPluginOneByOne(t *testing.T) {
	t.Parallel()
	const clients, tokens, concurrency = 500, 100, 64
	h := newHost(t, patient())
	a := startAuth(t, h, bundled("a", "faulty", ""))
	guard := authguard.New(a, authguard.Options{Concurrency: concurrency})
	pid := a.Status().PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, h, "a", in(Backoff, Starting))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answers := make(chan error, clients)
	for n := range clients {
		go func() { answers <- comeBack(ctx, h, guard, fmt.Sprintf("herd %d", n%tokens)) }()
	}
	for range clients {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	var most, sameToken, all int
	figures := asked(t, a, "herd figures")
	if _, err := fmt.Sscan(figures, &most, &sameToken, &all); err != nil {
		t.Fatalf("%q: %v", figures, err)
	}
	if most > concurrency || most < 2 || sameToken != 1 || all < tokens {
		t.Errorf("at most %d at a time, wanted 2 to %d; %d about one token at a time; %d in all for %d tokens", most, concurrency, sameToken, all, tokens)
	}
	t.Logf("%d questions for %d clients, at most %d at a time", all, clients, most)
	if s := a.Status(); s.Restarts != 1 || s.PID == pid {
		t.Errorf("status %+v", s)
	}
}

// comeBack asks until it is let in, each time that the plugin's state has changed, and a little later than a question that it has joined.
func comeBack(ctx context.Context, h *Host, guard *authguard.Guard, token string) error {
	for {
		changed := h.Changed()
		id, err := guard.Authenticate(ctx, broker.Credentials{Token: token})
		switch {
		case err == nil && id.User == token:
			return nil
		case err == nil:
			return fmt.Errorf("%s came in as %s", token, id.User)
		case !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "plugin a"):
			return err
		}
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
