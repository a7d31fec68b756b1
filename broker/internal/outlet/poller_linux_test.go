package outlet_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/outlet"
)

// polled is a reader that keeps what comes.
type polled struct {
	place outlet.Place
	p     *outlet.Poller
	o     *outlet.Outlet
	ended chan error // by the reader, once
	self  bool       // reads once itself, before anything else

	mu  sync.Mutex
	got []byte
	new chan struct{} // something has come
}

func (r *polled) Run() {
	for last := false; ; {
		b, err := []byte(nil), error(nil)
		if r.self {
			r.self = false
			r.p.Ignore(&r.place)
			b, err = r.o.Read()
			r.p.Watch(&r.place)
		} else {
			b, last, err = r.o.TryRead()
		}
		if err != nil {
			r.o.Release()
			r.o.End(false)
			r.p.Remove(&r.place)
			r.ended <- err
			return
		}
		r.mu.Lock()
		r.got = append(r.got, b...)
		r.mu.Unlock()
		select {
		case r.new <- struct{}{}:
		default:
		}
		if last && (len(b) == 0 || !r.place.Left()) {
			r.o.Release()
			if r.place.Park() {
				return
			}
			last = false
		}
	}
}

// await returns when want has come and nothing else.
func (r *polled) await(t *testing.T, want []byte) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		got := bytes.Clone(r.got)
		r.mu.Unlock()
		if bytes.Equal(got, want) {
			return
		}
		select {
		case <-r.new:
		case <-late:
			t.Fatalf("found %d bytes, wanted %d", len(got), len(want))
		}
	}
}

func (r *polled) awaitEnd(t *testing.T, want error) {
	t.Helper()
	if err := <-r.ended; !errors.Is(err, want) {
		t.Errorf("found %v at the end, wanted %v", err, want)
	}
}

// poll adds n connections to p.
func poll(t *testing.T, p *outlet.Poller, n int) (readers []*polled, clients []net.Conn) {
	t.Helper()
	for range n {
		o, client := pair(t, false)
		r := &polled{p: p, o: o, ended: make(chan error, 1), new: make(chan struct{}, 1)}
		if !p.Add(&r.place, o, r) {
			t.Fatal("a TCP connection was not taken")
		}
		readers, clients = append(readers, r), append(clients, client)
	}
	return readers, clients
}

func TestAPollerReadsWithoutAGoroutineEach(t *testing.T) {
	var p outlet.Poller
	before := runtime.NumGoroutine()
	readers, clients := poll(t, &p, 50)
	if more := runtime.NumGoroutine() - before; more > 2 {
		t.Errorf("found %d goroutines for 50 idle connections", more)
	}
	want := []byte("again and again")
	for range 20 {
		for _, c := range clients {
			if _, err := c.Write(want); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, r := range readers {
		r.await(t, bytes.Repeat(want, 20))
		clients[i].Close()
		r.awaitEnd(t, io.EOF)
	}
	p.Stop()
}

// What comes right before the end, and the end itself, may be told as one event.
func TestAnEndBehindTheLastBytesIsSeen(t *testing.T) {
	var p outlet.Poller
	defer p.Stop()
	for range 200 {
		readers, clients := poll(t, &p, 1)
		if _, err := clients[0].Write([]byte("bye")); err != nil {
			t.Fatal(err)
		}
		clients[0].Close()
		readers[0].awaitEnd(t, io.EOF)
		readers[0].await(t, []byte("bye"))
	}
}

func TestAConnectionThatIsEndedHereIsReadToItsEnd(t *testing.T) {
	var p outlet.Poller
	defer p.Stop()
	readers, _ := poll(t, &p, 20)
	for _, r := range readers {
		r.o.End(true)
		r.place.Wake()
	}
	for _, r := range readers {
		r.awaitEnd(t, net.ErrClosed)
	}
}

func TestAPollerBeginsAgainAfterStop(t *testing.T) {
	var p outlet.Poller
	for range 3 {
		readers, clients := poll(t, &p, 2)
		p.Stop() // not yet
		for i, r := range readers {
			if _, err := clients[i].Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			r.await(t, []byte("x"))
			clients[i].Close()
			r.awaitEnd(t, io.EOF)
		}
		p.Stop()
	}
}

func TestWhoHasReadItselfIsToldAgain(t *testing.T) {
	var p outlet.Poller
	defer p.Stop()
	for range 50 {
		o, client := pair(t, false)
		r := &polled{p: &p, o: o, self: true, ended: make(chan error, 1), new: make(chan struct{}, 1)}
		if !p.Add(&r.place, o, r) {
			t.Fatal("a TCP connection was not taken")
		}
		r.place.Wake()
		for _, want := range []string{"a", "ab", "abc"} {
			if _, err := client.Write([]byte(want[len(want)-1:])); err != nil {
				t.Fatal(err)
			}
			r.await(t, []byte(want))
		}
		client.Close()
		r.awaitEnd(t, io.EOF)
	}
}

func TestAPollerLeavesTLSToAGoroutine(t *testing.T) {
	var p outlet.Poller
	o, _ := pair(t, true)
	if p.Add(new(outlet.Place), o, nil) {
		t.Error("a TLS connection was taken")
	}
	p.Stop()
}
