package outlet

import (
	"sync"
	"sync/atomic"
)

// Reader reads a connection without a goroutine of its own.
type Reader interface {
	// Run is called, once at a time, when there may be something to read. It reads what there is, and may take its time over it. When there is
	// nothing left it asks Place.Park whether it may return.
	Run()
}

// Place is a connection's in a Poller. It is held by value and not copied.
type Place struct {
	poller *Poller
	reader Reader
	of     *Outlet
	slot   int32
	state  atomic.Int32
	left   atomic.Bool
}

// The states of a Place.
const (
	outside int32 = iota // of any Poller
	parked               // nobody runs
	running
	again // running, and something has happened since
)

// Park reports whether the reader may return: it is run again when something comes. Otherwise something has come meanwhile.
func (p *Place) Park() bool {
	if p.state.CompareAndSwap(running, parked) {
		return true
	}
	p.state.Store(running)
	return false
}

// Left reports whether the client has closed its side or the connection has broken, which the next Read tells: a short one was not the last.
func (p *Place) Left() bool { return p.left.Load() }

// Wake has the reader look at its connection, as whoever closes that has to. It may be called by any goroutine and does not wait.
func (p *Place) Wake() {
	for {
		switch p.state.Load() {
		case parked:
			if p.state.CompareAndSwap(parked, running) {
				p.poller.run(p)
				return
			}
		case running:
			if p.state.CompareAndSwap(running, again) {
				return
			}
		default:
			return
		}
	}
}

// keptRunners is how many goroutines wait for the next connection to run: their stacks have grown already.
const keptRunners = 64

// runners are the goroutines that run readers.
type runners struct {
	mu   sync.Mutex
	idle []chan *Place
	over bool // nobody is to be idle
	all  sync.WaitGroup
}

func (r *runners) run(p *Place) {
	r.mu.Lock()
	last := len(r.idle) - 1
	if last < 0 {
		r.mu.Unlock()
		r.all.Go(func() { r.work(p) })
		return
	}
	next := r.idle[last]
	r.idle = r.idle[:last]
	r.mu.Unlock()
	next <- p
}

// work runs p, and others that come while it is idle.
func (r *runners) work(p *Place) {
	next := make(chan *Place, 1)
	for more := true; more; p, more = <-next {
		p.reader.Run()
		if !r.rest(next) {
			return
		}
	}
}

// rest makes a goroutine idle, unless there are enough.
func (r *runners) rest(next chan *Place) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || len(r.idle) >= keptRunners {
		return false
	}
	r.idle = append(r.idle, next)
	return true
}

// begin allows goroutines to be idle, end has all of them end and waits for it.
func (r *runners) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = false
}

func (r *runners) end() {
	r.mu.Lock()
	r.over = true
	for _, next := range r.idle {
		close(next)
	}
	r.idle = nil
	r.mu.Unlock()
	r.all.Wait()
}
