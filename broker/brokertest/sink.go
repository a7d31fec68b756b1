package brokertest

import (
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.Conn = (*Sink)(nil)

// Sink is a broker.Conn that swallows what it is sent and counts it. It allocates nothing.
type Sink struct {
	Writes  atomic.Int64 // messages of the transport
	Packets atomic.Int64
	Bytes   atomic.Int64
}

// Write implements broker.Conn.
func (s *Sink) Write(batch []*broker.Packet) (done bool, err error) {
	s.Writes.Add(1)
	s.Packets.Add(int64(len(batch)))
	n := 0
	for _, p := range batch {
		n += len(p.Bytes())
	}
	s.Bytes.Add(int64(n))
	return true, nil
}

// Flush implements broker.Conn.
func (s *Sink) Flush() error { return nil }

// Progress implements broker.Conn: the client of a Sink is always lively.
func (s *Sink) Progress() time.Time { return time.Now() }

// Received implements broker.Conn.
func (s *Sink) Received() time.Time { return time.Now() }

// Close implements broker.Conn.
func (s *Sink) Close(protocol.Disconnect) {}

// Abort implements broker.Conn.
func (s *Sink) Abort() {}
