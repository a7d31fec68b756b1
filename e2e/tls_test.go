package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/testcert"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// openTLS is a broker that speaks TLS itself, as the tests of proxies see one.
func openTLS(t *testing.T, more string) *front {
	t.Helper()
	authority, dir := testcert.New(t), t.TempDir()
	cert, key := authority.Files(t, dir, testcert.Request{})
	config := write(t, filepath.Join(dir, "carillon.yaml"), mistakesConfig+"tls: {cert: "+cert+", key: "+key+"}\n"+more)
	f := &front{b: newBroker(t, "-c", config), ca: x509.NewCertPool()}
	f.b.start()
	_, port, _ := net.SplitHostPort(f.b.listen)
	f.addr = "localhost:" + port
	ca, err := os.ReadFile(authority.File)
	if err != nil || !f.ca.AppendCertsFromPEM(ca) {
		t.Fatal(err)
	}
	return f
}

func TestEveryDoorSpeaksTLS(t *testing.T) {
	f := openTLS(t, "")
	for name, test := range map[string]func(*testing.T, *front){
		"WebSocket": webSocketThrough, "HTTP and cookies": cookiesThrough, "events": eventsThrough, "long-poll": pollThrough,
	} {
		t.Run(name, func(t *testing.T) { test(t, f) })
	}
}

// TestAStalledReaderOverTLSHurtsNobody has a client that never reads while more is sent to it than the sockets hold, and another
// that gets everything meanwhile.
func TestAStalledReaderOverTLSHurtsNobody(t *testing.T) {
	f := openTLS(t, "limits: {ring: 1MiB, publish_rate: unlimited, publish_bytes: unlimited, drain: 5s, drain_spread: 100ms}\n")
	good := token(t, "main", mistakesSecret, nil)
	stalled, err := tls.Dial("tcp", f.b.listen, &tls.Config{RootCAs: f.ca, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.NetConn().Close()
	if err := stalled.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := stalled.Write([]byte("GET " + subscribePath + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + good + "\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	reader, err := f.connect(t, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sub := reader.Subscribe("orders.>")
	if err := sub.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	// 16 MiB: the kernel holds a part of it for the stalled one, the log a sixteenth.
	const count = 512
	payload := bytes.Repeat([]byte("x"), 32<<10)
	sent := make(chan error, 1)
	go func() {
		for range count {
			if _, err := reader.Publish(ctx, "orders.1", carillon.Raw{Data: payload}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	got := 0
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Payload) != len(payload) {
			t.Fatalf("message of %d bytes", len(m.Payload))
		}
		if got++; got == count {
			break
		}
	}
	if err := <-sent; err != nil || got != count {
		t.Errorf("%d of %d messages, %v", got, count, err)
	}

	// It does not hold up the end either.
	if err := reader.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := f.b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-f.b.exited:
	case <-time.After(20 * time.Second):
		t.Error("the broker drains for ever")
	}
}
