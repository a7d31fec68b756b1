package ws_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/ws"
)

// written keeps what is logged.
type written struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// A page that can send no header is often made to send its token as a subprotocol. It is refused, in words that do not repeat it; what is short
// enough to be a name is, and a long list is not repeated as a whole.
func TestATokenAmongTheSubprotocolsIsNotRepeated(t *testing.T) {
	const secret = "c0ffee-secret-of-a-service-42"
	for _, tt := range []struct{ offered, says string }{
		{secret, "a token is sent in Connect"},
		{"bearer, eyJhbGciOiJIUzI1NiJ9.e30." + secret, "a token is sent in Connect"},
		{"carillon.v2, " + secret, `found subprotocol \"carillon.v2, …\"`},
		{"mqtt", `found subprotocol \"mqtt\"`},
		{strings.Repeat("mqtt,", 1000) + secret, "a token is sent in Connect"},
	} {
		log := &written{}
		_, url := serve(t, broker.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, ws.Options{})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(url, "ws", "http", 1), nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": tt.offered,
		} {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), tt.says) || len(body) > 500 {
			t.Errorf("offered %.60q: found %s %s (%v), wanted 400 that says %s", tt.offered, resp.Status, body, err, tt.says)
		}
		if logged := log.String(); !strings.Contains(logged, "code=bad_subprotocol") || strings.Contains(logged+string(body), secret) {
			t.Errorf("offered %.60q: found %s and %s, wanted bad_subprotocol in the log and the secret nowhere", tt.offered, logged, body)
		}
	}
}

// The hint that the code has of itself is logged here as by the other doors.
func TestARefusedUpgradeIsLoggedWithItsHint(t *testing.T) {
	log := &written{}
	_, url := serve(t, broker.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, ws.Options{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.Replace(url, "ws", "http", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if logged := log.String(); resp.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(logged, `hint="Use a method that the Allow header names."`) {
		t.Errorf("found %s and %q in the log, wanted the hint of method_not_allowed", resp.Status, logged)
	}
}
