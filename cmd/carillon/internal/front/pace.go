package front

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Pace bounds how fast connections are accepted.
type Pace struct {
	PerSecond int    // more than 0
	Burst     int    // of those, at once; more than 0
	Late      func() // called for each connection that waits, by the one who accepts; nil: nobody is told
}

// Paced is a listener that hands on no more connections than its Pace. What is too many waits and nobody is refused: one connection here, those
// behind it in the kernel's queue, and those beyond that at the clients, who go on asking for their connection.
type Paced struct {
	net.Listener
	pace    Pace
	limit   *rate.Limiter
	delayed atomic.Uint64

	once   sync.Once
	closed chan struct{}
}

// NewPaced is l with a pace.
func NewPaced(l net.Listener, p Pace) *Paced {
	return &Paced{Listener: l, pace: p, limit: rate.NewLimiter(rate.Limit(p.PerSecond), p.Burst), closed: make(chan struct{})}
}

// Delayed is how many connections have waited so far.
func (p *Paced) Delayed() uint64 { return p.delayed.Load() }

// Accept implements net.Listener.
func (p *Paced) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	wait := p.limit.Reserve().Delay()
	if wait == 0 {
		return c, nil
	}
	p.delayed.Add(1)
	if p.pace.Late != nil {
		p.pace.Late()
	}
	turn := time.NewTimer(wait)
	defer turn.Stop()
	select {
	case <-turn.C:
		return c, nil
	case <-p.closed:
		c.Close()
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. An Accept that waits ends with net.ErrClosed.
func (p *Paced) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.Listener.Close()
}
