package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is long enough for bytes on the loopback to come, were they sent.
const soon = 50 * time.Millisecond

// target is a server whose end of each connection the test holds.
func target(t *testing.T) (addr string, accept func() *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), func() *net.TCPConn {
		if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.(*net.TCPConn)
	}
}

// through returns a proxy and a connection through it, both ends.
func through(t *testing.T) (p *Proxy, client, server *net.TCPConn) {
	addr, accept := target(t)
	p, err := New(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	client = dial(t, p)
	server = accept()
	exchange(t, client, server, "hello")
	return p, client, server
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// exchange sends text both ways.
func exchange(t *testing.T, a, b net.Conn, text string) {
	t.Helper()
	for range 2 {
		send(t, a, text)
		if got := receive(t, b, len(text)); got != text {
			t.Fatalf("got %q, want %q", got, text)
		}
		a, b = b, a
	}
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// outcome reads until something ends it: io.EOF, a reset, or that nothing has come.
func outcome(c net.Conn) (string, error) {
	c.SetReadDeadline(time.Now().Add(soon))
	b, err := io.ReadAll(c)
	if err == nil {
		err = io.EOF
	}
	return string(b), err
}

func TestCutAndResetReachBothEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*Proxy)
		want error
	}{
		"cut":   {(*Proxy).Cut, io.EOF},
		"reset": {(*Proxy).Reset, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			p, client, server := through(t)
			test.end(p)
			for _, c := range []net.Conn{client, server} {
				if _, err := outcome(c); !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
			}
		})
	}
}

func TestCutAfterStopsInTheMiddle(t *testing.T) {
	p, client, server := through(t)
	p.CutAfter(7, false)
	exchange(t, client, server, "abc") // 3 of the 7; what goes up does not count
	send(t, server, "defghijklm")
	if got, err := outcome(client); got != "defg" || !errors.Is(err, io.EOF) {
		t.Errorf("got %q and %v, want defg and the end", got, err)
	}
}

func TestSilenceTellsNobody(t *testing.T) {
	p, client, server := through(t)
	p.Silence()
	send(t, client, "x")
	send(t, server, "y")
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := outcome(server); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the server got %q and %v, want nothing at all", got, err)
	}
	fresh := dial(t, p) // the connection is made, and as dead
	send(t, fresh, "x")
	if got, err := outcome(fresh); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new client got %q and %v, want nothing at all", got, err)
	}
	p.Restore()
	if got, err := outcome(client); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after Restore the client got %q and %v, want nothing at all", got, err)
	}
}

func TestRestoreLetsNewConnectionsThrough(t *testing.T) {
	addr, accept := target(t)
	p, err := New(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Refuse()
	c, err := net.Dial("tcp", p.Addr())
	if err == nil { // the reset may come before or after the dialer has seen the connection
		_, err = outcome(c)
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	p.Restore()
	p.Silence()
	dial(t, p)
	accept() // a silent one is made all the same
	p.Restore()
	c = dial(t, p)
	exchange(t, c, accept(), "hello")
	if p.Accepted() != 3 || p.Connections() != 2 {
		t.Errorf("%d accepted, %d open, want 3 and 2", p.Accepted(), p.Connections())
	}
}

func TestFreezeHoldsBackAndThawGivesAll(t *testing.T) {
	p, client, server := through(t)
	p.Freeze()
	send(t, client, "up")
	send(t, server, "down")
	if got, err := outcome(server); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the server got %q and %v, want nothing yet", got, err)
	}
	p.Thaw()
	if up, down := receive(t, server, 2), receive(t, client, 4); up != "up" || down != "down" {
		t.Errorf("got %q and %q, want up and down", up, down)
	}
}

func TestLatencySliceAndRate(t *testing.T) {
	p, client, server := through(t)
	p.Latency(30 * time.Millisecond)
	start := time.Now()
	exchange(t, client, server, "hello")
	if got := time.Since(start); got < 60*time.Millisecond {
		t.Errorf("there and back took %v, want at least 60ms", got)
	}
	p.Latency(0)
	p.Rate(1000)
	p.Slice(10)
	start = time.Now()
	exchange(t, client, server, string(bytes.Repeat([]byte("x"), 50)))
	if got := time.Since(start); got < 80*time.Millisecond {
		t.Errorf("two times 50 bytes took %v, want at least 80ms", got)
	}
}

func TestBytesComeThroughInOrder(t *testing.T) {
	p, client, server := through(t)
	p.Slice(1000)
	want := make([]byte, 1<<20)
	for i := range want {
		want[i] = byte(i * i >> 8)
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		_, err := client.Write(want)
		if err := errors.Join(err, client.CloseWrite()); err != nil {
			t.Error(err)
		}
	})
	got := receive(t, server, len(want))
	if got != string(want) {
		t.Error("other bytes came than were sent")
	}
	writing.Wait()
	if _, err := outcome(server); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
	if up, _ := p.Bytes(); up != int64(len(want)+5) {
		t.Errorf("counted %d bytes up, want %d", up, len(want)+5)
	}
}

func TestRetargetGoesToTheNewAddress(t *testing.T) {
	addr, _ := target(t)
	p, err := New(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	other, accept := target(t)
	p.Retarget(other)
	exchange(t, dial(t, p), accept(), "hello")
}
