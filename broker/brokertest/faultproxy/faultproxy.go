// Package faultproxy is a TCP proxy that breaks connections in the ways networks do: with a goodbye, with a reset, in the middle
// of a frame, or by going silent so that nobody is told. It can also be slow. It is for tests.
//
//	p, err := faultproxy.New(brokerAddress)
//	defer p.Close()
//	client dials p.Addr()
//	p.Silence()
//
// Every connection has a pump in each direction: one goroutine reads chunks, another writes each of them when it is due, so
// latency does not limit the rate. Close waits for all of them.
package faultproxy

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy listens on a port of its own and passes every connection on to a target. Its methods may be called concurrently. What
// they say about connections holds for those that exist and, where it says so, for new ones.
type Proxy struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	latency  atomic.Int64 // nanoseconds each way
	rate     atomic.Int64 // bytes per second, each way of each connection; 0: any
	slice    atomic.Int64 // most bytes in one write; 0: any
	budget   atomic.Int64 // bytes to clients before the cut; negative: no cut is due
	accepted atomic.Int64
	up, down atomic.Int64

	mu     sync.Mutex
	links  map[*link]struct{}
	refuse bool
	silent bool
	frozen chan struct{} // closed by Thaw; nil: not frozen
	closed bool
}

// New starts a proxy in front of the TCP address target.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, listener: l, links: make(map[*link]struct{})}
	p.budget.Store(-1)
	p.running.Go(p.accept)
	return p, nil
}

// Addr is the address to dial instead of the target's.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Retarget sends new connections to another address, as after a restart of what is behind the proxy.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Connections is how many connections are open, Accepted how many there have been.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Accepted is how many connections there have been, refused ones included.
func (p *Proxy) Accepted() int { return int(p.accepted.Load()) }

// Bytes is what has been passed to the target and to the clients.
func (p *Proxy) Bytes() (up, down int64) { return p.up.Load(), p.down.Load() }

// Cut closes all connections at both ends.
func (p *Proxy) Cut() { p.each(func(l *link) { l.end(false) }) }

// Reset ends all connections with an RST at both ends; what was on its way is lost.
func (p *Proxy) Reset() { p.each(func(l *link) { l.end(true) }) }

// CutAfter cuts the connection on which, counted over all connections from now, the n-th byte to a client is passed, right
// behind that byte. reset does it with an RST.
func (p *Proxy) CutAfter(n int64, reset bool) {
	p.each(func(l *link) { l.resetting.Store(reset) })
	p.budget.Store(n)
}

// Silence makes all connections, and new ones until Restore, go dead without a word: nothing is read, nothing is written,
// nothing is closed. They stay dead after Restore. So does a connection whose other end gives up: that end's peer is not told.
func (p *Proxy) Silence() {
	p.mu.Lock()
	p.silent = true
	p.mu.Unlock()
	p.each(func(l *link) { l.silence() })
}

// Restore lets new connections through again after Silence or Refuse.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent, p.refuse = false, false
}

// Freeze holds back everything on all connections, new ones too, until Thaw; nothing is lost.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil {
		p.frozen = make(chan struct{})
	}
}

// Thaw passes on what Freeze has held back.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

// Refuse resets new connections at once until Restore.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = true
}

// Latency delays every byte by d, each way. The order is kept.
func (p *Proxy) Latency(d time.Duration) { p.latency.Store(int64(d)) }

// Rate passes at most so many bytes a second, each way of each connection; 0 is any.
func (p *Proxy) Rate(bytesPerSecond int) { p.rate.Store(int64(bytesPerSecond)) }

// Slice writes at most n bytes at once, so that frames come in pieces; 0 is any.
func (p *Proxy) Slice(n int) { p.slice.Store(int64(n)) }

// Close ends everything and waits for it.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.listener.Close()
	p.Thaw()
	p.Reset()
	p.running.Wait()
	return err
}

func (p *Proxy) each(f func(*link)) {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		f(l)
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		p.running.Go(func() { p.serve(client) })
	}
}

// serve passes one connection on until it ends.
func (p *Proxy) serve(client net.Conn) {
	l := &link{p: p, client: client, over: make(chan struct{}), dead: make(chan struct{})}
	if !p.admit(l) {
		reset(client)
		return
	}
	defer p.forget(l)
	target, err := net.Dial("tcp", p.targetAddr())
	if err != nil {
		reset(client)
		return
	}
	if !l.connect(target) {
		reset(target)
		return
	}
	var pumps sync.WaitGroup
	pumps.Go(func() { l.pump(client, target, &p.up, nil) })
	pumps.Go(func() { l.pump(target, client, &p.down, &p.budget) })
	pumps.Wait()
	l.end(false)
}

func (p *Proxy) targetAddr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target
}

func (p *Proxy) admit(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse || p.closed {
		return false
	}
	if p.silent {
		l.silence()
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// thawed is closed when the proxy is not frozen any more, nil if it is not.
func (p *Proxy) thawed() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frozen
}
