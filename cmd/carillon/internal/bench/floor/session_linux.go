package floor

import (
	"context"
	"encoding/binary"
	"io"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"github.com/coder/websocket"
)

// session is one connection.
type session struct {
	server *server
	tail   *tail
	in     *pooledReader // the connection
	ws     *websocket.Conn

	pending [][]byte // tail only
	lags    bool     // tail only

	topicsMu sync.Mutex
	topics   map[string]struct{}

	answers int // not yet sent; reader only
}

// buffers are for reading, and for answers.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

// serve reads until the connection ends.
func (s *session) serve() {
	defer s.ws.CloseNow()
	for {
		_, r, err := s.ws.Reader(context.Background())
		if err != nil {
			break
		}
		bp := buffers.Get().(*[]byte)
		b, err := readAll(r, (*bp)[:0])
		s.commands(b)
		*bp = b[:0]
		buffers.Put(bp)
		if err != nil {
			break
		}
	}
	s.tail.do(func() { s.tail.remove(s) })
}

func readAll(r io.Reader, b []byte) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

// commands does what one message says. The answers leave together, when nothing more has come.
func (s *session) commands(b []byte) {
	for {
		k, rest, behind, ok := Next(b)
		if !ok || len(rest) < 1 || len(rest) < 1+int(rest[0]) {
			break
		}
		b = behind
		topic, payload := rest[1:1+rest[0]], rest[1+rest[0]:]
		switch k {
		case Subscribe:
			s.subscribe(string(topic))
			s.answers++
		case Ask:
			s.publish(topic, payload)
			s.answers++
		case Publish:
			s.publish(topic, payload)
		default:
			return
		}
	}
	if s.answers > 0 && !s.in.more() {
		s.answer()
	}
}

func (s *session) publish(topic, payload []byte) {
	packet := append(appendHead(make([]byte, 0, HeadBytes+len(payload)), Message, len(payload)), payload...)
	s.server.log.append(entry{string(topic), packet})
	for _, t := range s.server.tails {
		t.rouse()
	}
}

func (s *session) subscribe(topic string) {
	s.topicsMu.Lock()
	s.topics[strings.Clone(topic)] = struct{}{}
	s.topicsMu.Unlock()
	done := make(chan struct{})
	s.tail.do(func() {
		s.tail.byTopic[topic] = append(s.tail.byTopic[topic], s)
		close(done)
	})
	<-done
}

func (s *session) answer() {
	bp := buffers.Get().(*[]byte)
	b := appendFrameHead((*bp)[:0], s.answers*HeadBytes)
	for range s.answers {
		b = appendHead(b, Answer, 0)
	}
	s.answers = 0
	if rest := s.try(b); len(rest) > 0 {
		_ = s.write(rest) // a connection that has ended is noticed by reading
	}
	*bp = b[:0]
	buffers.Put(bp)
}

// try writes without waiting and returns what the socket did not take.
func (s *session) try(b []byte) []byte {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	for len(b) > 0 && !s.in.closed {
		n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, s.in.fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch e {
		case 0:
			b = b[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return b
		default: // it has ended, which is noticed by reading
			return nil
		}
	}
	return nil
}

func (s *session) write(b []byte) error {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	_, err := s.in.Conn.Write(b)
	return err
}

// near is how close to the end of the log a session may be taken back by its tail.
const near = 32

// catchUp writes rest, then what the log has from number next on, until the tail can take the session back.
func (s *session) catchUp(next uint64, rest []byte) {
	if s.write(rest) != nil {
		return
	}
	var batch []entry
	for {
		end := s.server.log.end.Load()
		if end-next < near {
			break
		}
		to := min(end, next+batchEntries)
		var ok bool
		if batch, ok = s.server.log.read(batch[:0], next, to); !ok {
			_ = s.in.Close() // noticed by reading
			return
		}
		next = to
		if packets := s.mine(batch); len(packets) > 0 && s.write(appendFrame(nil, packets)) != nil {
			return
		}
	}
	s.tail.do(func() {
		batch, ok := s.server.log.read(nil, next, s.tail.next)
		if !ok {
			_ = s.in.Close() // noticed by reading
			return
		}
		s.lags = false
		for _, packet := range s.mine(batch) {
			s.tail.give(s, packet)
		}
		s.tail.flush()
	})
}

// mine are the packets of the topics that the session has.
func (s *session) mine(batch []entry) (packets [][]byte) {
	s.topicsMu.Lock()
	defer s.topicsMu.Unlock()
	for _, e := range batch {
		if _, ok := s.topics[e.topic]; ok {
			packets = append(packets, e.packet)
		}
	}
	return packets
}

// appendFrame appends one WebSocket message that holds packets.
func appendFrame(b []byte, packets [][]byte) []byte {
	n := 0
	for _, p := range packets {
		n += len(p)
	}
	b = appendFrameHead(b, n)
	for _, p := range packets {
		b = append(b, p...)
	}
	return b
}

func appendFrameHead(b []byte, n int) []byte {
	const finalBinary = 0x82
	switch {
	case n < 126:
		return append(b, finalBinary, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, finalBinary, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, finalBinary, 127), uint64(n))
}
