package outlet_test

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/internal/require"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is an outlet and its client's end, over TCP or over TLS.
func pair(t testing.TB, overTLS bool) (*outlet.Outlet, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if overTLS {
		own := httptest.NewUnstartedServer(nil)
		own.StartTLS()
		config := own.TLS
		own.Close()
		secured := tls.Server(server, config)
		c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		shaken := make(chan error, 1)
		go func() { shaken <- c.Handshake() }()
		if err := errors.Join(secured.Handshake(), <-shaken); err != nil {
			t.Fatal(err)
		}
		server, client = secured, c
	}
	o := outlet.New(server, outlet.Options{SendBuffer: 8 << 10, PeerTimeout: time.Minute})
	t.Cleanup(func() {
		o.End(true)
		client.Close()
	})
	client.SetDeadline(time.Now().Add(20 * time.Second))
	return o, client
}

func both(t *testing.T, test func(t *testing.T, o *outlet.Outlet, client net.Conn)) {
	t.Helper()
	for name, overTLS := range map[string]bool{"TCP": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			o, client := pair(t, overTLS)
			test(t, o, client)
		})
	}
}

// Pieces of several goroutines arrive whole and, of each, in order, however slowly they are read.
func TestPiecesArriveWholeAndInOrder(t *testing.T) {
	both(t, func(t *testing.T, o *outlet.Outlet, client net.Conn) {
		const senders, pieces, size = 4, 300, 2000
		var all sync.WaitGroup
		for s := range senders {
			all.Go(func() {
				piece := make([]byte, size)
				for i := range pieces {
					binary.BigEndian.PutUint32(piece, uint32(s))
					binary.BigEndian.PutUint32(piece[4:], uint32(i))
					for at := 8; at < size; at++ {
						piece[at] = byte(s)
					}
					if done, err := o.Send(piece); err != nil {
						t.Error(err)
						return
					} else if !done && o.Flush() != nil {
						t.Error("found the flush failed")
						return
					}
				}
			})
		}
		var next [senders]uint32
		piece := make([]byte, size)
		for range senders * pieces {
			if _, err := io.ReadFull(client, piece); err != nil {
				t.Fatal(err)
			}
			s := binary.BigEndian.Uint32(piece)
			if s >= senders || binary.BigEndian.Uint32(piece[4:]) != next[s] {
				t.Fatalf("found piece %x, wanted number %d of a sender", piece[:8], next[min(s, senders-1)])
			}
			next[s]++
			for _, b := range piece[8:] {
				if b != byte(s) {
					t.Fatal("found a piece inside another")
				}
			}
		}
		all.Wait()
		if o.Accepted().IsZero() || o.Progress().Before(o.Accepted()) {
			t.Error("found no time of progress")
		}
	})
}

func TestNothingFollowsTheLast(t *testing.T) {
	both(t, func(t *testing.T, o *outlet.Outlet, client net.Conn) {
		if _, err := o.Send([]byte("first ")); err != nil {
			t.Fatal(err)
		}
		if !o.Last([]byte("last")) || o.Last([]byte("again")) {
			t.Error("found not exactly one last piece")
		}
		if _, err := o.Send([]byte("more")); !errors.Is(err, outlet.ErrClosed) {
			t.Errorf("found %v", err)
		}
		if err := o.Flush(); err != nil {
			t.Fatal(err)
		}
		o.End(false)
		if got, err := io.ReadAll(client); string(got) != "first last" || err != nil {
			t.Errorf("found %q, %v", got, err)
		}
		if _, err := o.Send([]byte("more")); !errors.Is(err, outlet.ErrGone) {
			t.Errorf("found %v", err)
		}
	})
}

// An end at once does not wait for a client that does not read, and frees who waits for it.
func TestAnEndAtOnceFreesWhoWaits(t *testing.T) {
	both(t, func(t *testing.T, o *outlet.Outlet, _ net.Conn) {
		for {
			done, err := o.Send(make([]byte, 1<<20))
			if err != nil {
				t.Fatal(err)
			}
			if !done {
				break
			}
		}
		flushed := make(chan error, 2)
		go func() { flushed <- o.Flush() }()
		go func() { flushed <- o.Flush() }()
		began := time.Now()
		o.End(true)
		for range 2 {
			if err := <-flushed; err == nil {
				t.Error("found everything flushed to a client that does not read")
			}
		}
		if waited, most := time.Since(began), require.Bound(2*time.Second, 10); waited > most {
			t.Errorf("found it to take %s, wanted at most %s", waited, most)
		}
	})
}

// A client that asks for answers and does not read keeps no more of them waiting than a few KiB; behind that it is answered as before.
func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	both(t, func(t *testing.T, o *outlet.Outlet, client net.Conn) {
		sent := 0
		for done := true; done; {
			var err error
			if done, err = o.Send(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
			sent += 1 << 20
		}
		var flushing sync.WaitGroup
		flushing.Go(func() { _ = o.Flush() })
		answer := make([]byte, 100)
		for range 10_000 {
			if err := o.Answer(answer); err != nil {
				t.Fatal(err)
			}
		}
		kept := make(chan int, 1)
		go func() {
			n, _ := io.Copy(io.Discard, client)
			kept <- int(n) - sent
		}()
		flushing.Wait()
		if err := o.Answer(answer); err != nil {
			t.Error(err)
		}
		if err := o.Flush(); err != nil {
			t.Error(err)
		}
		o.End(false)
		if n := <-kept; n < 2*len(answer) || n > 16<<10 {
			t.Errorf("found %d bytes of answers sent, wanted a few KiB of them", n)
		}
	})
}

func TestReadingGivesWhatTheClientSends(t *testing.T) {
	both(t, func(t *testing.T, o *outlet.Outlet, client net.Conn) {
		before := o.Received()
		if _, err := io.WriteString(client, "hello"); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for len(got) < 5 {
			b, err := o.Read()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b...)
		}
		o.Release()
		if string(got) != "hello" || !o.Received().After(before) {
			t.Errorf("found %q", got)
		}
		client.Close()
		if _, err := o.Read(); err == nil {
			t.Error("found more behind the end")
		}
	})
}

// Connections may come while somebody waits for the last to end.
func TestAGroupIsWaitedForWhileOthersCome(t *testing.T) {
	var g outlet.Group
	g.Wait() // there is none
	free := make(chan struct{})
	ended := make(chan int, 2)
	g.Go(func() {
		<-free
		g.Go(func() {
			<-free
			ended <- 2
		})
		ended <- 1
	})
	waited := make(chan struct{})
	go func() {
		g.Wait()
		close(waited)
	}()
	select {
	case <-waited:
		t.Fatal("found nobody waited for")
	default:
	}
	close(free)
	<-waited
	if len(ended) != 2 {
		t.Errorf("found %d ended, wanted 2", len(ended))
	}
}
