package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/ws"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParsers(t *testing.T) {
	load, err := parseLoad([]byte("0.31 0.42 1.50 2/345 6789\n"))
	if diff := cmp.Diff(Load{0.31, 0.42, 1.5}, load); err != nil || diff != "" {
		t.Errorf("load: %v\n%s", err, diff)
	}
	memory, err := parseMemory([]byte("MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    750 kB\n"))
	if diff := cmp.Diff(Space{1000 << 10, 750 << 10, 25}, memory); err != nil || diff != "" {
		t.Errorf("memory: %v\n%s", err, diff)
	}
	busy, all, err := parseCPU([]byte("cpu  10 1 5 70 4 0 2 8 9 9\ncpu0 1 1 1 1 1\n"))
	if busy != 26 || all != 100 || err != nil {
		t.Errorf("cpu: %d of %d busy, %v, want 26 of 100", busy, all, err)
	}
	in, out, err := parseNetwork([]byte(
		"Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n" +
			"    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n  eth0: 100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\nwlan0:5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n"))
	if in != 105 || out != 206 || err != nil {
		t.Errorf("network: %d in, %d out, %v, want 105 and 206", in, out, err)
	}
	for name, broken := range map[string]error{
		"load":   second(parseLoad([]byte("no numbers"))),
		"memory": second(parseMemory(nil)),
		"cpu":    third(parseCPU([]byte("cpu 1 2 x 4 5 6"))),
	} {
		if broken == nil {
			t.Errorf("%s: garbage was read", name)
		}
	}
}

func second[T any](_ T, err error) error     { return err }
func third[T any](_ T, _ T, err error) error { return err }

// All figures of this machine come, retained, under its escaped name, and go on coming.
func TestWatchPublishesRealFigures(t *testing.T) {
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	h := ws.New(b, ws.Options{})
	srv := httptest.NewServer(h)
	defer func() {
		b.Close()
		srv.Close()
		h.Wait()
	}()
	url := strings.Replace(srv.URL, "http", "ws", 1)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- watch(ctx, options{server: url, name: "my.host", every: 50 * time.Millisecond}, slog.New(slog.DiscardHandler))
	}()
	c, err := carillon.Dial(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	seen := make(map[string]int)
	for m, err := range c.Subscribe("host.my%2Ehost.*").Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		var figure map[string]float64
		if err := m.Decode(&figure); err != nil || !json.Valid(m.Payload) || !m.Retain {
			t.Fatalf("%s: %s, %v", m.Topic, m.Payload, err)
		}
		if seen[m.Topic]++; seen["host.my%2Ehost.cpu"] >= 3 && len(seen) >= len(sources) { // on a slow machine the last ones of a round are dropped
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
