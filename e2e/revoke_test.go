package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// revocable is a client whose token will be revoked. It reads and publishes all the time.
type revocable struct {
	jti                 string
	c                   *carillon.Client
	delivered, accepted atomic.Int64 // when it was last so, in Unix nanoseconds; 0: never
}

// G7: tokens are put on the list of auth-jwt while their sessions read what others publish, and publish themselves. Nothing is delivered to
// them or accepted from them 5 s later, and whoever is not on the list goes on. Figures: how long after the list was written.
func TestRevokedSessionsEndInTime(t *testing.T) {
	list := filepath.Join(t.TempDir(), "revoked")
	if err := os.WriteFile(list, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "carillon.yaml")
	text := strings.Replace(mistakesConfig, "    keys:\n", "    revoked: "+list+"\n    keys:\n", 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, "-c", config)
	b.env = loadSettings
	b.start()
	spared := newRevocable(t, b, "spared", everybody, 20*time.Millisecond)
	atATime := count(40, 500)
	var delivered, accepted []time.Duration
	for round := range count(1, 20) {
		all := make([]*revocable, atATime)
		var lines strings.Builder
		for i := range all {
			all[i] = newRevocable(t, b, fmt.Sprintf("%d-%d", round, i), "orders.own", 400*time.Millisecond)
			fmt.Fprintf(&lines, "{\"jti\": %q}\n", all[i].jti)
		}
		wait(t, 200*time.Millisecond)
		began := appendTo(t, list, lines.String())
		for _, r := range all {
			eventually(t, 20*time.Second, r.jti+" is out", func() bool { return r.c.Status().State != carillon.StateConnected })
		}
		wait(t, 500*time.Millisecond) // for what should not come any more
		for _, r := range all {
			leave(r.c)
			if r.delivered.Load() == 0 || r.accepted.Load() == 0 {
				t.Fatalf("%s was never served: the run is invalid", r.jti)
			}
			delivered = append(delivered, max(0, time.Unix(0, r.delivered.Load()).Sub(began)))
			accepted = append(accepted, max(0, time.Unix(0, r.accepted.Load()).Sub(began)))
		}
	}
	if since := time.Since(time.Unix(0, spared.accepted.Load())); since > 5*time.Second {
		t.Errorf("who was not revoked was last served %s ago", since)
	}
	t.Logf("%d revocations; last delivery after %s; last publish accepted after %s", len(delivered), spread(delivered), spread(accepted))
	within(t, "a message was delivered to who had been revoked", delivered, 5*time.Second)
	within(t, "a publish was accepted of who had been revoked", accepted, 5*time.Second)
}

func appendTo(t *testing.T, file, text string) (when time.Time) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return time.Now()
}

// everybody is the topic that everybody reads.
const everybody = "orders.everybody"

// newRevocable is a client that publishes to a topic, again and again with a pause.
func newRevocable(t *testing.T, b *broker, jti, topic string, pause time.Duration) *revocable {
	t.Helper()
	r := &revocable{jti: jti, c: clientAt(t, b.url(), carillon.WithToken(token(t, "main", mistakesSecret, map[string]any{"jti": jti, "sub": jti})))}
	sub := r.c.Subscribe(everybody)
	if err := sub.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() {
		for _, err := range sub.Messages(ctx) {
			if err != nil {
				return
			}
			r.delivered.Store(time.Now().UnixNano())
		}
	})
	both.Go(func() {
		for ctx.Err() == nil {
			if _, err := r.c.Publish(ctx, topic, "x"); err != nil {
				return
			}
			r.accepted.Store(time.Now().UnixNano())
			wait(t, pause)
		}
	})
	t.Cleanup(func() {
		cancel()
		leave(r.c)
		both.Wait()
	})
	return r
}
