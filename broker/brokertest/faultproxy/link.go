package faultproxy

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is one connection through the proxy.
type link struct {
	p         *Proxy
	client    net.Conn
	over      chan struct{} // closed when the link has been ended
	dead      chan struct{} // closed when it has gone silent
	resetting atomic.Bool   // how CutAfter cuts
	silenced  sync.Once

	mu     sync.Mutex
	target net.Conn // nil until connected
	ended  bool
}

// connect takes the other end. It reports false if the link was ended meanwhile.
func (l *link) connect(target net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.target = target
	return true
}

// end closes both ends, with an RST if reset is set. Only the first call counts.
func (l *link) end(withReset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	close(l.over)
	for _, c := range []net.Conn{l.client, l.target} {
		switch {
		case c == nil:
		case withReset:
			reset(c)
		default:
			c.Close()
		}
	}
}

// silence stops the pumps without closing anything.
func (l *link) silence() { l.silenced.Do(func() { close(l.dead) }) }

type chunk struct {
	data []byte
	due  time.Time
}

// pump passes bytes from one end to the other until one of them closes: then the other end is closed for writing, as a plain
// proxy does. The bytes are counted, and count against budget if there is one.
func (l *link) pump(from, to net.Conn, passed, budget *atomic.Int64) {
	chunks := make(chan chunk, 256)
	var writing sync.WaitGroup
	writing.Go(func() {
		if l.write(to, chunks, passed, budget) {
			_ = to.(*net.TCPConn).CloseWrite() // it may be closed already
		}
	})
	defer writing.Wait()
	defer close(chunks)
	buf := make([]byte, 32<<10)
	for {
		if !l.open() {
			return
		}
		n, err := from.Read(buf)
		if n > 0 {
			select {
			case chunks <- chunk{append([]byte(nil), buf[:n]...), time.Now().Add(time.Duration(l.p.latency.Load()))}:
			case <-l.over:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// open waits while the proxy is frozen, and for ever on a silent link. It reports whether the link goes on.
func (l *link) open() bool {
	for {
		select {
		case <-l.over:
			return false
		case <-l.dead:
			<-l.over
			return false
		default:
		}
		thawed := l.p.thawed()
		if thawed == nil {
			return true
		}
		select {
		case <-thawed:
		case <-l.dead:
		case <-l.over:
		}
	}
}

// write writes chunks when they are due. It reports whether it came to their end.
func (l *link) write(to net.Conn, chunks <-chan chunk, passed, budget *atomic.Int64) bool {
	for c := range chunks {
		if !l.sleep(time.Until(c.due)) {
			return false
		}
		for len(c.data) > 0 {
			if !l.open() {
				return false
			}
			n := len(c.data)
			if s := int(l.p.slice.Load()); s > 0 {
				n = min(n, s)
			}
			n, cut := spend(budget, n)
			if _, err := to.Write(c.data[:n]); err != nil {
				l.end(false)
				return false
			}
			passed.Add(int64(n))
			if cut {
				l.end(l.resetting.Load())
				return false
			}
			if r := l.p.rate.Load(); r > 0 && !l.sleep(time.Duration(n)*time.Second/time.Duration(r)) {
				return false
			}
			c.data = c.data[n:]
		}
	}
	return l.open()
}

// spend takes up to n from budget and reports whether that was the last of it.
func spend(budget *atomic.Int64, n int) (taken int, last bool) {
	// A budget that is used up becomes negative, which is none.
	if budget == nil {
		return n, false
	}
	for {
		left := budget.Load()
		if left < 0 {
			return n, false
		}
		taken = int(min(int64(n), left))
		rest := left - int64(taken)
		if rest == 0 {
			rest = -1
		}
		if budget.CompareAndSwap(left, rest) {
			return taken, rest < 0
		}
	}
}

// sleep waits for d and reports whether the link goes on.
func (l *link) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.over:
		return false
	}
}

// reset closes c with an RST.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}
