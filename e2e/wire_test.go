package e2e

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/protocol"
)

// wire is a WebSocket without anything around it: it reads only when it is asked to, costs little, and can be cut anywhere.
type wire struct {
	conn    *net.TCPConn
	in      *bufio.Reader
	message []byte // the last one read
	sub     uint64
}

// dialWire opens a WebSocket whose socket holds about so many bytes that nobody reads; 0: as many as the system likes.
func dialWire(ctx context.Context, addr string, receive int) (*wire, error) {
	w, err := openWire(ctx, net.Dialer{}, addr, receive)
	if err != nil {
		return nil, err
	}
	if err := w.upgrade(addr); err != nil {
		w.conn.Close()
		return nil, err
	}
	return w, nil
}

// openWire connects.
func openWire(ctx context.Context, dialer net.Dialer, addr string, receive int) (*wire, error) {
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &wire{conn: conn.(*net.TCPConn), in: bufio.NewReaderSize(conn, cmp.Or(receive, 32<<10))}
	if receive > 0 {
		err = w.conn.SetReadBuffer(receive)
	}
	return w, errors.Join(err, conn.SetDeadline(time.Now().Add(20*time.Second)))
}

func (w *wire) upgrade(host string) error {
	if _, err := io.WriteString(w.conn, upgradeRequest(host)); err != nil {
		return err
	}
	return rawws.ReadUpgraded(w.in)
}

func upgradeRequest(host string) string { return rawws.Request(host, protocol.Subprotocol) + "\r\n" }

// frame is packets in a frame of a client.
func frame(packets ...protocol.Packet) []byte {
	var body []byte
	for _, p := range packets {
		body = p.Append(body)
	}
	return rawws.Frame(rawws.Binary, body)
}

func (w *wire) send(packets ...protocol.Packet) error {
	_, err := w.conn.Write(frame(packets...))
	return err
}

// subscribe connects the session, subscribes, and returns the position from which everything comes.
func (w *wire) subscribe(s *protocol.Subscribe) (protocol.Position, error) {
	w.sub++
	s.ID = w.sub
	packets := []protocol.Packet{s}
	if w.sub == 1 {
		packets = []protocol.Packet{&protocol.Connect{Version: protocol.Version}, s}
	}
	if err := w.send(packets...); err != nil {
		return protocol.Position{}, err
	}
	var at protocol.Position
	for found := false; !found; {
		err := w.read(func(r protocol.Raw, _ []byte) error {
			switch r.Type {
			case protocol.TypeSubscribed:
				var p protocol.Subscribed
				found = true
				err := p.Decode(r)
				at = p.Position
				return err
			case protocol.TypeError, protocol.TypeDisconnect:
				p, err := protocol.DecodePacket(r)
				return errors.Join(fmt.Errorf("found %+v", p), err)
			default:
				return nil
			}
		})
		if err != nil {
			return at, fmt.Errorf("subscribing to %s: %w", s.Filter, err)
		}
	}
	return at, w.conn.SetDeadline(time.Time{})
}

// read reads one message, hands its packets and their bytes to take, and answers pings.
func (w *wire) read(take func(r protocol.Raw, packet []byte) error) error {
	if err := w.readMessage(); err != nil {
		return err
	}
	for rest := w.message; len(rest) > 0; {
		raw, behind, err := protocol.Next(rest)
		if err != nil {
			return err
		}
		packet := rest[:len(rest)-len(behind)]
		rest = behind
		if raw.Type == protocol.TypePing {
			if err := w.send(&protocol.Pong{}); err != nil {
				return err
			}
			continue
		}
		if err := take(raw, packet); err != nil {
			return err
		}
	}
	return nil
}

// readMessage reads the next binary message, in one frame.
func (w *wire) readMessage() error {
	first, message, err := rawws.Read(w.in, w.message)
	if err != nil {
		return err
	}
	if first != rawws.Binary {
		return fmt.Errorf("found a frame %#x: %w", first, io.ErrUnexpectedEOF)
	}
	w.message = message
	return nil
}

// The ways in which a client goes.

func (w *wire) close() error { return w.conn.Close() }

func (w *wire) reset() error { return errors.Join(w.conn.SetLinger(0), w.conn.Close()) }

// closeOneWay ends what the client sends, and reads until the broker ends the rest.
func (w *wire) closeOneWay() error {
	return errors.Join(w.conn.CloseWrite(), w.drain(), w.conn.Close())
}

// goodbye sends a close frame and waits for its answer.
func (w *wire) goodbye() error {
	_, err := w.conn.Write(rawws.Frame(rawws.Close, []byte{0x03, 0xe8})) // 1000
	return errors.Join(err, w.drain(), w.conn.Close())
}

// drain reads, and answers nothing, until the broker ends the connection.
func (w *wire) drain() error {
	if err := w.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, w.in); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the broker has not ended the connection")
	}
	return nil // by FIN or by RST
}

// cutFrame sends some bytes of a frame, and no more.
func (w *wire) cutFrame(b []byte) error {
	_, err := w.conn.Write(b[:1+rand.IntN(len(b)-1)])
	return err
}
