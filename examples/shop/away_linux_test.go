package shop_test

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/require"
)

// hung is a broker whose process stands still: the system accepts connections for it, and nothing is ever answered.
func hung(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// blackHole is an address that swallows everything: nobody takes connections from its queue, the queue is full, and what comes then is
// dropped without an answer.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 16 {
		c, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if err != nil {
			return addr // it is full
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue does not become full")
	return ""
}

// silentHalfway is a broker that begins to answer and then stops.
func silentHalfway(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"))
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// refusing is an address that nobody listens at.
func refusing(t *testing.T) string { return freeAddr(t) }

// The shop waits 250 ms for the broker. The bound is far above that, for a machine that is busy, and far below php's own 60 s; the
// figures are in the log.
func TestABrokerThatIsAwayNeitherFailsNorDelaysTheOrder(t *testing.T) {
	for _, tc := range []struct {
		name   string
		broker func(*testing.T) string
		told   bool // 200 came, and that is all a publish waits for
	}{
		{"connection refused", refusing, false},
		{"packets are swallowed", blackHole, false},
		{"connects and hangs", hung, false},
		{"begins to answer and hangs", silentHalfway, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			shop := startShop(t, tc.broker(t))
			ada, office := logIn(t, shop, "42"), logIn(t, shop, "office")
			csrf := office.csrf("backoffice.php")
			for i, status := range []string{"packed", "shipped", "delivered"} {
				from := time.Now()
				got := office.post("backoffice.php", map[string][]string{"csrf": {csrf}, "number": {"1002"}, "status": {status}})
				took := time.Since(from)
				t.Logf("change %d took %v", i+1, took.Round(time.Millisecond))
				if got.StatusCode != 303 || strings.Contains(got.Header.Get("Location"), "quiet") == tc.told {
					t.Fatalf("the change: %s, to %q\n%s", got.Status, got.Header.Get("Location"), got.body)
				}
				if took > require.Bound(2*time.Second, 5) {
					t.Errorf("the order was delayed by %v", took)
				}
				if body := ada.get("orders.php").body; !strings.Contains(body, `"status":"`+status+`"`) {
					t.Errorf("the change was not saved: %s", body)
				}
			}
		})
	}
}
