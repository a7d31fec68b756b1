package host

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// quietPair is a quiet end of a socket and the other end.
func quietPair(t *testing.T) (quietEnd net.Conn, other *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "q") //nolint:usetesting // the path of t.TempDir is too long for a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if other, err = listener.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	quietEnd = quiet(conn)
	if _, ok := quietEnd.(*quietConn); !ok {
		t.Fatalf("the connection is a %T", quietEnd)
	}
	t.Cleanup(func() { quietEnd.Close(); other.Close() })
	return quietEnd, other
}

func TestAQuietConnectionCarriesMoreThanTheSocketHolds(t *testing.T) {
	conn, other := quietPair(t)
	want := make([]byte, 4<<20)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	written := make(chan error, 1)
	go func() {
		n, err := conn.Write(want)
		if err == nil && n != len(want) {
			err = io.ErrShortWrite
		}
		written <- err
	}()
	go func() { _, _ = io.Copy(other, io.LimitReader(other, int64(len(want)))) }() // all of it back
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Error("what came back is not what was sent")
	}
}

func TestAQuietConnectionEndsAsOthersDo(t *testing.T) {
	b := make([]byte, 10)
	t.Run("by the other side", func(t *testing.T) {
		conn, other := quietPair(t)
		if n, err := conn.Read(nil); n != 0 || err != nil {
			t.Errorf("nothing was asked for: %d, %v", n, err)
		}
		other.Close()
		if n, err := conn.Read(b); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read %d, %v, wanted the end", n, err)
		}
		if _, err := conn.Write(b); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("wrote with %v, wanted a broken pipe", err)
		}
	})
	t.Run("while it is read", func(t *testing.T) {
		conn, _ := quietPair(t)
		ended := make(chan error, 1)
		go func() {
			_, err := conn.Read(b)
			ended <- err
		}()
		conn.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("read ended with %v", err)
		}
	})
	t.Run("by a deadline", func(t *testing.T) {
		conn, _ := quietPair(t)
		if err := conn.SetDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read ended with %v", err)
		}
		if _, err := conn.Write(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write ended with %v", err)
		}
	})
}

func TestWhatIsNoSocketStaysAsItIs(t *testing.T) {
	conn, other := net.Pipe()
	defer conn.Close()
	defer other.Close()
	if quiet(conn) != conn {
		t.Error("a pipe was made a quiet connection")
	}
}
