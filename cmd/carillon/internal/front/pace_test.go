package front

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// endless is a listener at which there is always somebody, until it is closed.
type endless struct{ closed bool }

func (l *endless) Accept() (net.Conn, error) {
	if l.closed {
		return nil, net.ErrClosed
	}
	c, _ := net.Pipe()
	return c, nil
}

func (l *endless) Close() error   { l.closed = true; return nil }
func (l *endless) Addr() net.Addr { return &net.TCPAddr{} }

func TestConnectionsBeyondTheRateAreAcceptedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := 0
		l := NewPaced(&endless{}, Pace{PerSecond: 2000, Burst: 100, Late: func() { late++ }})
		began := time.Now()
		accept := func(n int) {
			t.Helper()
			for range n {
				if _, err := l.Accept(); err != nil {
					t.Fatal(err)
				}
			}
		}
		accept(100)
		if took := time.Since(began); took != 0 || l.Delayed() != 0 {
			t.Errorf("the first burst took %s and %d of it waited, wanted none to", took, l.Delayed())
		}
		accept(4000)
		if took := time.Since(began); took < 1990*time.Millisecond || took > 2010*time.Millisecond {
			t.Errorf("4,000 more took %s, wanted 2 s", took)
		}
		if l.Delayed() != 4000 || late != 4000 {
			t.Errorf("found %d that waited, of which %d were told, wanted 4,000", l.Delayed(), late)
		}
		time.Sleep(time.Second) // of the bubble: the burst is there again
		rested := time.Now()
		accept(100)
		if took := time.Since(rested); took != 0 {
			t.Errorf("a burst after a rest took %s", took)
		}
	})
}

func TestAWaitForTheRateEndsWithTheListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewPaced(&endless{}, Pace{PerSecond: 1, Burst: 1})
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ended := make(chan error)
		go func() {
			_, err := l.Accept()
			ended <- err
		}()
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) || time.Since(began) != 0 {
			t.Errorf("found %v after %s, wanted the end at once", err, time.Since(began))
		}
	})
}
