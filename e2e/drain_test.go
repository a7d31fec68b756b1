package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// G15: SIGTERM under load finishes what was accepted, tells the clients when to come back, and exits 0 in time; the clients find
// the next broker by themselves and nothing that was acknowledged is gone.
func TestSIGTERMUnderLoadLosesNothing(t *testing.T) {
	b := newBroker(t)
	b.env = []string{"CARILLON_LIMITS_DRAIN_SPREAD=200ms"}
	for range count(3, 200) {
		b.start()
		var acks atomic.Int64
		var books [8]ledger
		stop := make(chan struct{})
		var publishers sync.WaitGroup
		for p := range books {
			c := client(t, b)
			publishers.Go(func() {
				defer leave(c) // not to come back in every round that follows
				for {
					select {
					case <-stop:
						return
					default:
					}
					n := books[p].sent.Add(1)
					ack, err := c.Publish(t.Context(), fmt.Sprintf("drain.%d", p), strconv.FormatInt(n, 10), carillon.Retain())
					if err == nil && ack.Durability == protocol.Committed {
						raise(&books[p].acked, n)
						acks.Add(1)
					}
				}
			})
		}
		eventually(t, 20*time.Second, "publishes are acknowledged", func() bool { return acks.Load() > 200 })
		began := time.Now()
		b.terminate()
		t.Logf("exited %s after SIGTERM", time.Since(began).Round(time.Millisecond))
		b.start()
		at := acks.Load()
		eventually(t, 20*time.Second, "the clients came back by themselves", func() bool { return acks.Load() > at+100 })
		close(stop)
		publishers.Wait()
		reader := client(t, b)
		for p := range books {
			found := retained(t, reader, fmt.Sprintf("drain.%d", p))
			if found < books[p].acked.Load() {
				t.Errorf("topic drain.%d: found %d, but %d was acknowledged", p, found, books[p].acked.Load())
			}
		}
		leave(reader)
		b.terminate()
	}
}

// retained is the retained number of topic, -1 if it has none.
func retained(t *testing.T, c *carillon.Client, topic string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	found := int64(-1)
	for e, err := range c.Subscribe(topic).Events(ctx) {
		switch e := e.(type) {
		case *carillon.Message:
			found = parse(e.Payload)
		case *carillon.SnapshotEnd:
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// terminate sends SIGTERM and fails the test unless the broker exits with 0 within 30 s.
func (b *broker) terminate() {
	b.t.Helper()
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.t.Fatal(err)
	}
	select {
	case <-b.exited:
	case <-time.After(30 * time.Second):
		b.t.Fatalf("the broker did not exit within 30 s of SIGTERM: %s", b.said())
	}
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		b.t.Errorf("found exit code %d, wanted 0: %s", code, b.said())
	}
}

func TestBundledPluginsAreProcessesOfTheirOwn(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "carillon.yaml")
	text := `
auth:
  plugin: auth-jwt
  config:
    issuer: https://shop.example
    audience: carillon
    keys:
      - kid: k1
        alg: HS256
        secret: 0123456789abcdef0123456789abcdef
`
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, "-c", conf)
	b.start()
	names := map[string]bool{}
	for _, p := range b.plugins() {
		if p.State != "ready" || p.PID == b.pid() || !alive(p.PID) {
			t.Errorf("found plugin %+v, wanted a ready process beside the broker's %d", p, b.pid())
		}
		names[p.Name] = true
	}
	if n := len(processesOf(t, b.pid())); n != 2 || !names["auth-jwt"] || !names["store-bolt"] {
		t.Errorf("found %d child processes and plugins %v, wanted auth-jwt and store-bolt", n, names)
	}
}

// processesOf are the children of every thread of pid.
func processesOf(t *testing.T, pid int) []int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for child := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(child); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}
