package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// conn is a bare WebSocket client connection: no buffers while idle but a small one, no goroutine of its own. A pump can read from it.
type conn struct {
	nc  net.Conn
	d   Dialect
	buf []byte
	n   int // bytes in buf
	out []byte
	order
	id int // for the scenario
}

// dial connects, upgrades and says hello.
func dial(ctx context.Context, server Server, d Dialect, bufBytes int) (*conn, error) {
	u, err := url.Parse(server.URL)
	if err != nil {
		return nil, err
	}
	nc, err := server.connect(ctx, u)
	if err != nil {
		return nil, err
	}
	c := &conn{nc: nc, d: d, buf: make([]byte, bufBytes)}
	if err := c.upgrade(u); err != nil {
		nc.Close()
		return nil, err
	}
	if hello := d.Hello(); hello != nil {
		if err := c.ask(hello); err != nil {
			nc.Close()
			return nil, err
		}
	}
	return c, nil
}

func (c *conn) upgrade(u *url.URL) error {
	var key [16]byte
	rand.Read(key[:])
	protocolLine := ""
	if p := c.d.Subprotocol(); p != "" {
		protocolLine = "Sec-WebSocket-Protocol: " + p + "\r\n"
	}
	_, err := fmt.Fprintf(c.nc, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\n%sSec-WebSocket-Key: %s\r\n\r\n",
		u.RequestURI(), u.Host, protocolLine, base64.StdEncoding.EncodeToString(key[:]))
	if err != nil {
		return err
	}
	br := bufio.NewReaderSize(c.nc, 1024)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return fmt.Errorf("upgrade was answered %s: %s", resp.Status, body)
	}
	early, _ := br.Peek(br.Buffered())
	c.n = copy(c.buf, early)
	return nil
}

// ask sends a message and waits for its one answer.
func (c *conn) ask(msg []byte) error {
	if err := c.send(msg); err != nil {
		return err
	}
	for answers := 0; answers == 0; {
		got, err := c.receive()
		if err != nil {
			return err
		}
		answers = got.Answers
	}
	return nil
}

// send sends one masked binary message; the mask is zero, so masking costs the client nothing.
func (c *conn) send(msg []byte) error {
	b := append(c.out[:0], 0x82)
	switch n := len(msg); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, 0, 0, 0, 0)
	b = append(b, msg...)
	_, err := c.nc.Write(b)
	c.out = b[:0]
	return err
}

// receive waits for bytes and counts the packets of the messages that are complete.
func (c *conn) receive() (Counts, error) {
	if c.n == len(c.buf) {
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	if size, _ := frameSize(c.buf[:c.n]); size == 0 || c.n < size {
		n, err := c.nc.Read(c.buf[c.n:])
		if err != nil {
			return Counts{}, err
		}
		c.n += n
	}
	used, counts, err := c.consume(c.buf[:c.n])
	c.n = copy(c.buf, c.buf[used:c.n])
	return counts, err
}

// consume counts the packets of the whole frames that b begins with, and returns how long those are.
func (c *conn) consume(b []byte) (used int, total Counts, err error) {
	for {
		size, head := frameSize(b[used:])
		if size == 0 || len(b)-used < size {
			return used, total, nil
		}
		frame := b[used : used+size]
		if frame[0]&0x0f == 8 {
			return used, total, fmt.Errorf("the server closed the connection: %q", frame[head:])
		}
		counts, err := c.d.Count(frame[head:], &c.order)
		total.Messages += counts.Messages
		total.Answers += counts.Answers
		if err != nil {
			return used, total, err
		}
		used += size
	}
}

// frameSize is the size of the frame at the start of b with its header, and the header's; 0 when b is too short to tell.
func frameSize(b []byte) (size, head int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch n := int(b[1] & 0x7f); n {
	case 126:
		if len(b) < 4 {
			return 0, 0
		}
		return 4 + int(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return 0, 0
		}
		return 10 + int(binary.BigEndian.Uint64(b[2:])), 10
	default:
		return 2 + n, 2
	}
}
