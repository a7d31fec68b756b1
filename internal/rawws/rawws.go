// Package rawws is what a test needs to be a WebSocket client byte by byte: the request for the upgrade, and frames (RFC 6455). It checks nothing,
// so that a test can send whatever it likes.
package rawws

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
)

// First bytes of frames that are whole messages.
const (
	Binary = 0x82
	Close  = 0x88
	Ping   = 0x89
	Pong   = 0x8a
)

// Request asks host for the upgrade of /ws to a subprotocol, but for the empty line that ends it.
func Request(host, subprotocol string) string {
	return "GET /ws HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + subprotocol + "\r\n"
}

// ReadUpgraded reads the answer to the request, which has to grant it.
func ReadUpgraded(in *bufio.Reader) error {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the upgrade was answered with %s", resp.Status)
	}
	return nil
}

// Frame is one frame of a client, whose mask is 0.
func Frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// Read reads the next frame of a server, into buf if that is large enough.
func Read(in *bufio.Reader, buf []byte) (first byte, payload []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return 0, nil, err
	}
	first = head[0]
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		_, err = io.ReadFull(in, head[:2])
		n = uint64(binary.BigEndian.Uint16(head[:]))
	case 127:
		_, err = io.ReadFull(in, head[:])
		n = binary.BigEndian.Uint64(head[:])
	}
	if err != nil {
		return 0, nil, err
	}
	if uint64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	payload = buf[:n]
	_, err = io.ReadFull(in, payload)
	return first, payload, err
}
