package brokertest

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.Conn = (*Conn)(nil)

// ErrGone is a write on a Conn that has ended.
var ErrGone = errors.New("brokertest: connection has ended")

// Conn is one connection in memory. Its methods may be called from any goroutine.
type Conn struct {
	mu       sync.Mutex
	changed  chan struct{} // closed at every change
	room     int64         // bytes that the socket takes
	rest     [][]byte      // written, not yet wholly taken; the first one perhaps in part
	waiting  int64         // bytes of rest that were not taken
	taken    int64         // bytes ever
	writes   int64         // messages ever
	packets  []protocol.Packet
	owed     bool // a Write was not done: a Flush has to come
	using    bool // somebody is in Write or Flush
	fault    error
	progress time.Time
	received time.Time
	oneWay   bool
	end      *protocol.Disconnect
	aborted  bool
	ended    chan struct{}
}

// NewConn returns a connection whose socket is open.
func NewConn() *Conn {
	now := time.Now()
	return &Conn{changed: make(chan struct{}), ended: make(chan struct{}), room: math.MaxInt64, progress: now, received: now}
}

// Open lets the socket take whatever comes.
func (c *Conn) Open() { c.setRoom(func(int64) int64 { return math.MaxInt64 }) }

// Shut makes the socket take nothing more.
func (c *Conn) Shut() { c.setRoom(func(int64) int64 { return 0 }) }

// Allow lets the socket take n bytes more, and then nothing.
func (c *Conn) Allow(n int64) {
	c.setRoom(func(room int64) int64 {
		if room == math.MaxInt64 {
			return n
		}
		return room + n
	})
}

func (c *Conn) setRoom(f func(int64) int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room = f(c.room)
	c.takeLocked()
	c.changedLocked()
}

func (c *Conn) changedLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// takeLocked moves what the socket has room for to the client's side.
func (c *Conn) takeLocked() {
	for len(c.rest) > 0 && c.room > 0 && !c.isEnded() {
		msg := c.rest[0]
		left := c.firstLeft()
		n := min(left, c.room)
		if c.room != math.MaxInt64 {
			c.room -= n
		}
		c.waiting -= n
		c.taken += n
		c.progress = time.Now()
		if n < left {
			return
		}
		c.rest[0] = nil
		c.rest = c.rest[1:]
		c.decodeLocked(msg)
	}
}

// firstLeft is how many bytes of rest[0] are not taken.
func (c *Conn) firstLeft() int64 {
	left := c.waiting
	for _, msg := range c.rest[1:] {
		left -= int64(len(msg))
	}
	return left
}

func (c *Conn) decodeLocked(msg []byte) {
	for len(msg) > 0 {
		raw, rest, err := protocol.Next(msg)
		var p protocol.Packet
		if err == nil {
			p, err = protocol.DecodePacket(raw)
		}
		if err != nil {
			c.faultLocked(fmt.Errorf("the broker sent what cannot be read: %w", err))
			return
		}
		c.packets = append(c.packets, p)
		msg = rest
	}
}

func (c *Conn) faultLocked(err error) {
	if c.fault == nil {
		c.fault = err
	}
}

// Fault is the first breach of the contract of broker.Conn, or packet that cannot be read.
func (c *Conn) Fault() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

// Write implements broker.Conn.
func (c *Conn) Write(batch []*broker.Packet) (done bool, err error) {
	var msg []byte
	for _, p := range batch {
		msg = append(msg, p.Bytes()...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.using:
		c.faultLocked(errors.New("Write while another Write or Flush is going on"))
	case c.owed:
		c.faultLocked(errors.New("Write after one that was not done, without a Flush between"))
	case len(msg) == 0:
		c.faultLocked(errors.New("Write of nothing"))
	}
	if c.isEnded() {
		return true, ErrGone
	}
	c.writes++
	c.rest = append(c.rest, msg)
	c.waiting += int64(len(msg))
	c.takeLocked()
	c.changedLocked()
	c.owed = len(c.rest) > 0
	return !c.owed, nil
}

// Flush implements broker.Conn.
func (c *Conn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.using {
		c.faultLocked(errors.New("Flush while another one is going on"))
	}
	c.using = true
	for len(c.rest) > 0 && !c.isEnded() {
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-c.ended:
		}
		c.mu.Lock()
	}
	c.using, c.owed = false, false
	if c.isEnded() {
		return ErrGone
	}
	return nil
}

// Progress implements broker.Conn.
func (c *Conn) Progress() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.received.After(c.progress) {
		return c.received
	}
	return c.progress
}

// Received implements broker.Conn.
func (c *Conn) Received() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.oneWay {
		return c.progress
	}
	return c.received
}

// OneWay makes what the socket takes a sign that the client is there: it answers nothing.
func (c *Conn) OneWay() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.oneWay = true
}

// hear notes that bytes came from the client.
func (c *Conn) hear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = time.Now()
}

// Close implements broker.Conn. The client gets the Disconnect whatever its socket takes.
func (c *Conn) Close(d protocol.Disconnect) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isEnded() {
		return
	}
	c.end = &d
	c.packets = append(c.packets, &d)
	c.changedLocked()
	close(c.ended)
}

// Abort implements broker.Conn.
func (c *Conn) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isEnded() {
		return
	}
	c.aborted = true
	c.changedLocked()
	close(c.ended)
}

func (c *Conn) isEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// Ended reports how the broker ended the connection: with a Disconnect, or, if that is nil, at once.
func (c *Conn) Ended() (d *protocol.Disconnect, ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end, c.isEnded()
}

// Waiting is how many bytes were written and not taken by the socket.
func (c *Conn) Waiting() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting
}

// Taken is how many bytes the socket has taken, and Writes how many messages were written.
func (c *Conn) Taken() (bytes, writes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken, c.writes
}

// Packets takes the packets that have arrived.
func (c *Conn) Packets() []protocol.Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	packets := c.packets
	c.packets = nil
	return packets
}

// Next takes the next packet. It waits for one, for at most ten seconds.
func (c *Conn) Next() (protocol.Packet, error) {
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		if len(c.packets) > 0 {
			p := c.packets[0]
			c.packets = c.packets[1:]
			c.mu.Unlock()
			return p, nil
		}
		changed, fault, ended := c.changed, c.fault, c.isEnded()
		c.mu.Unlock()
		if fault != nil {
			return nil, fault
		}
		if ended {
			return nil, ErrGone
		}
		select {
		case <-changed:
		case <-deadline.C:
			return nil, errors.New("brokertest: no packet came within 10 s")
		}
	}
}
