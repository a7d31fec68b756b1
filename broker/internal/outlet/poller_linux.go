package outlet

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Poller runs the readers of TCP connections when something comes for them, by an epoll instance of its own. Waiting for that takes no thread: the
// instance is itself waited for by the runtime. The zero value is ready. It begins with the first connection and ends by Stop.
type Poller struct {
	runners

	life  sync.Mutex // held while the Poller begins, ends, or takes a connection in
	fd    int
	epoll *os.File // nil: not begun
	loop  sync.WaitGroup

	mu    sync.Mutex
	slots []*Place // what the events name
	free  []int32
	taken int
}

// Add has reader run from now on whenever there is something to read from o. It reports false, and has done nothing, for a connection that
// needs a goroutine: one that is no plain TCP.
func (p *Poller) Add(c *Place, o *Outlet, reader Reader) bool {
	if _, plain := o.sock.(*rawSocket); !plain {
		return false
	}
	p.life.Lock()
	defer p.life.Unlock()
	if p.epoll == nil && p.beginLocked() != nil {
		return false
	}
	c.poller, c.reader, c.of, c.slot = p, reader, o, p.take(c)
	c.state.Store(parked)
	if p.control(c, unix.EPOLL_CTL_ADD, events) == nil {
		return true
	}
	if !c.state.CompareAndSwap(parked, outside) {
		return true // woken meanwhile: it runs, and finds the connection closed
	}
	p.Remove(c)
	return false
}

// events are what a connection is watched for. Each is told once, when it happens.
const events = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&(1<<32-1)

// Ignore has nobody told of what comes for c, whose reader waits for it itself. Watch ends that.
func (p *Poller) Ignore(c *Place) { _ = p.control(c, unix.EPOLL_CTL_MOD, 0) } // a connection that is closed needs neither

// Watch has the reader run again when something comes, and if something is there. It is called before Park.
func (p *Poller) Watch(c *Place) { _ = p.control(c, unix.EPOLL_CTL_MOD, events) }

func (p *Poller) control(c *Place, op int, events uint32) error {
	var failed error
	err := c.of.sock.(*rawSocket).raw.Control(func(fd uintptr) {
		failed = unix.EpollCtl(p.fd, op, int(fd), &unix.EpollEvent{Events: events, Fd: c.slot})
	})
	if err != nil {
		return err
	}
	return failed
}

// take finds a slot for c.
func (p *Poller) take(c *Place) int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken++
	if n := len(p.free); n > 0 {
		slot := p.free[n-1]
		p.free = p.free[:n-1]
		p.slots[slot] = c
		return slot
	}
	p.slots = append(p.slots, c)
	return int32(len(p.slots) - 1)
}

// Remove forgets a connection, which has been closed. Its reader calls it.
func (p *Poller) Remove(c *Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots[c.slot] = nil
	p.free = append(p.free, c.slot)
	p.taken--
}

func (p *Poller) beginLocked() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	err = unix.SetNonblock(fd, true) // so that os has the runtime wait for it
	file := os.NewFile(uintptr(fd), "epoll")
	if err != nil {
		file.Close()
		return err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return err
	}
	p.fd, p.epoll = fd, file
	p.begin()
	p.loop.Go(func() { p.poll(raw) })
	return nil
}

// Stop ends the Poller's goroutines when no connection is left, and waits for that. With one it does nothing.
func (p *Poller) Stop() {
	p.life.Lock()
	defer p.life.Unlock()
	p.mu.Lock()
	taken := p.taken
	p.mu.Unlock()
	if p.epoll == nil || taken > 0 {
		return
	}
	p.epoll.Close()
	p.loop.Wait()
	p.end()
	p.epoll, p.slots, p.free = nil, nil, nil
}

// poll is the Poller's goroutine.
func (p *Poller) poll(raw syscall.RawConn) {
	var told [128]unix.EpollEvent
	n := 0
	wait := func(fd uintptr) bool {
		var err error
		n, err = unix.EpollWait(int(fd), told[:], 0)
		return n > 0 || err != nil
	}
	for due := make([]*Place, 0, len(told)); raw.Read(wait) == nil; {
		due = p.due(due[:0], told[:max(n, 0)])
		for _, c := range due {
			c.Wake()
		}
		clear(due)
	}
}

// due appends the connections that events are about. A place that has been left and taken again is woken for nothing.
func (p *Poller) due(dst []*Place, told []unix.EpollEvent) []*Place {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range told {
		c := p.slots[told[i].Fd]
		if c == nil {
			continue
		}
		if told[i].Events&^unix.EPOLLIN != 0 {
			c.left.Store(true)
		}
		dst = append(dst, c)
	}
	return dst
}
