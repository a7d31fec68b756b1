package badinput

import (
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// slowInputs do not read what they are sent.
func slowInputs() []input {
	return []input{
		{id: "P35", name: "1,000 requests without reading an answer", accepted: 1000, send: func(t *testing.T, s *stand) {
			w := connected(t, s, token(t, "tester", everything))
			for id := range uint64(1000) {
				w.packets(&protocol.Publish{ID: id + 1, Topic: "kept.a"})
			}
			acks := 0
			for acks < 1000 {
				h := w.until(protocol.TypePublished)
				if h.ended || len(h.errors) > 0 {
					t.Fatalf("found %q and errors %q after %d answers", h.code, h.errors, acks)
				}
				for _, p := range h.packets {
					if p.Type() == protocol.TypePublished {
						acks++
					}
				}
			}
			w.nc.Close()
		}},
		{id: "P36", name: "a subscriber that never reads", accepted: 160, send: func(t *testing.T, s *stand) {
			stalled := connected(t, s, token(t, "tester", everything))
			stalled.packets(&protocol.Subscribe{ID: 1, Filter: "large"})
			stalled.until(protocol.TypeSubscribed)
			publishLarge(t, s, 160)
			stalled.nc.Close()
		}},
		{id: "A14", name: "a stream of events that is never read", accepted: 160, send: func(t *testing.T, s *stand) {
			w := dial(t, s.listen)
			w.text("GET /v1/subscribe?filter=large HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token(t, "tester", everything) + "\r\n\r\n")
			if _, err := w.in.Peek(1); err != nil {
				t.Fatal(err)
			}
			publishLarge(t, s, 160)
			w.nc.Close()
		}},
	}
}

// publishLarge publishes so many messages of 60 KiB and waits until the last is acknowledged.
func publishLarge(t *testing.T, s *stand, n int) {
	t.Helper()
	w := connected(t, s, token(t, "tester", everything))
	payload := []byte(strings.Repeat("x", 60<<10))
	for range n - 1 {
		w.packets(&protocol.Publish{Topic: "large", Payload: payload})
	}
	w.packets(&protocol.Publish{ID: 1, Topic: "large", Payload: payload})
	if h := w.until(protocol.TypePublished); h.ended || len(h.errors) > 0 {
		t.Errorf("found %q and errors %q", h.code, h.errors)
	}
	w.nc.Close()
}
