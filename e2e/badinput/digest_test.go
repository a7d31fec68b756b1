package badinput

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// digest is of what the broker keeps for later: every retained value, and the newest of all histories of the store, with their positions.
type digest struct{ retained, history string }

// seed gives the broker something to keep, so that there is something to lose.
func (s *stand) seed(t *testing.T) {
	t.Helper()
	w := connected(t, s, token(t, "keeper", everything))
	w.packets(
		&protocol.Publish{ID: 1, Topic: "seed", Payload: []byte("retained"), Retain: true},
		&protocol.Publish{ID: 2, Topic: "kept.seed", Payload: []byte("stored"), Headers: map[string]string{"a": "b"}},
	)
	for acks := 0; acks < 2; {
		h := w.until(protocol.TypePublished)
		if h.ended || len(h.errors) > 0 {
			t.Fatalf("found %q and errors %q", h.code, h.errors)
		}
		for _, p := range h.packets {
			if p.Type() == protocol.TypePublished {
				acks++
			}
		}
	}
	w.nc.Close()
}

// digest reads all of it, once by each door.
func (s *stand) digest(t *testing.T) digest {
	t.Helper()
	tok := token(t, "keeper", everything)
	w := connected(t, s, tok)
	w.packets(&protocol.Subscribe{ID: 1, Filter: ">"})
	var values []string
	for _, p := range w.until(protocol.TypeRetainedEnd).packets {
		if m, ok := p.(*protocol.Message); ok && m.Retain {
			values = append(values, fmt.Sprintf("%q %q %q %q %d", m.Topic, m.Payload, m.ContentType, m.Headers, m.Offset))
		}
	}
	w.nc.Close()
	slices.Sort(values)

	h := dial(t, s.listen)
	defer h.nc.Close()
	a := h.exchange(request("GET", "/v1/topics/%3E/history?last=100", "", bearer(tok), "Connection: close"))
	var page struct{ Messages json.RawMessage }
	if a == nil || a.StatusCode != 200 || json.Unmarshal([]byte(a.body), &page) != nil {
		t.Fatalf("the history: %+v", a)
	}
	return digest{sum(strings.Join(values, "\n")), sum(string(page.Messages))}
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:8])
}

// TestTheDigestSeesEveryChange proves the check of U3: a value that is replaced by another of the same length, in the same topic, is seen.
func TestTheDigestSeesEveryChange(t *testing.T) {
	t.Parallel()
	s := openStand(t, config)
	s.seed(t)
	first := s.digest(t)
	if again := s.digest(t); again != first {
		t.Fatalf("found %+v and then %+v, and nothing had changed", first, again)
	}
	put := func(p *protocol.Publish) digest {
		w := connected(t, s, token(t, "keeper", everything))
		w.packets(p)
		if h := w.until(protocol.TypePublished); h.ended || len(h.errors) > 0 {
			t.Fatalf("found %q and errors %q", h.code, h.errors)
		}
		w.nc.Close()
		return s.digest(t)
	}
	retained := put(&protocol.Publish{ID: 1, Topic: "seed", Payload: []byte("RETAINED"), Retain: true})
	if retained.retained == first.retained || retained.history != first.history {
		t.Errorf("found %+v behind another retained value, %+v before", retained, first)
	}
	stored := put(&protocol.Publish{ID: 1, Topic: "kept.seed", Payload: []byte("stored")})
	if stored.retained != retained.retained || stored.history == retained.history {
		t.Errorf("found %+v behind another stored message, %+v before", stored, retained)
	}
}
