package ws

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// told keeps what a sink is given.
type told struct {
	messages [][]byte
	more     []bool
	controls []byte
}

func (s *told) message(payload []byte, more bool) error {
	s.messages, s.more = append(s.messages, bytes.Clone(payload)), append(s.more, more)
	return nil
}

func (s *told) control(op byte, payload []byte) error {
	s.controls = append(s.controls, op)
	if op != opClose {
		return nil
	}
	if err := checkClose(payload); err != nil {
		return err
	}
	return errClosed
}

// clientFrame is a frame as a client sends it.
func clientFrame(first byte, payload []byte, key [4]byte) []byte {
	b := appendHeader(nil, 0, len(payload))
	b[0], b[1] = first, b[1]|masked
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

// takeIn feeds b in pieces of at most n bytes.
func takeIn(b []byte, n int, to sink) error {
	f := frames{limit: 4 << 10}
	for part := range slices.Chunk(bytes.Clone(b), n) {
		if err := f.take(part, to); err != nil {
			return err
		}
	}
	return nil
}

func TestMessagesAreTheSameInWhateverPiecesTheyCome(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789"), 300)
	var stream []byte
	for _, f := range []struct {
		first   byte
		payload []byte
	}{
		{final | opBinary, []byte("one")},
		{opBinary, []byte("in ")},
		{final | opPing, []byte("here?")},
		{opContinuation, nil},
		{final | opContinuation, []byte("three")},
		{final | opBinary, long},
		{final | opPong, nil},
		{final | opBinary, nil},
		{final | opBinary, []byte("last")},
	} {
		stream = append(stream, clientFrame(f.first, f.payload, [4]byte{1, 2, 0, 255})...)
	}
	want := [][]byte{[]byte("one"), []byte("in three"), long, {}, []byte("last")}
	for _, size := range []int{1, 2, 3, 7, 100, 1000, len(stream)} {
		var got told
		if err := takeIn(stream, size, &got); err != nil {
			t.Fatalf("in pieces of %d: %v", size, err)
		}
		if diff := cmp.Diff(want, got.messages); diff != "" {
			t.Errorf("in pieces of %d (-wanted +found):\n%s", size, diff)
		}
		if !bytes.Equal(got.controls, []byte{opPing, opPong}) {
			t.Errorf("in pieces of %d: found control frames %v", size, got.controls)
		}
	}
}

// [CON-7]: what has been received when the first message is handed on counts.
func TestWhatWaitsBeforeConnectedIsBounded(t *testing.T) {
	one := clientFrame(final|opBinary, []byte("connect"), [4]byte{})
	for behind, want := range map[int]bool{0: true, 100 - 7: true, 100 - 6: false, 1000: false} {
		var got told
		f := frames{limit: 4 << 10, most: 100}
		err := f.take(append(bytes.Clone(one), make([]byte, behind)...), &got)
		if taken := len(got.messages) == 1; taken != want || !taken && protocol.CodeOf(err) != protocol.CodeMessageTooLarge {
			t.Errorf("found a message with %d bytes behind it taken: %t, %v", behind, taken, err)
		}
	}
}

func TestAcknowledgementsWaitOnlyForAWholeMessage(t *testing.T) {
	one := clientFrame(final|opBinary, []byte("x"), [4]byte{})
	tests := []struct {
		name   string
		behind []byte
		more   bool
	}{
		{"nothing", nil, false},
		{"a whole message", one, true},
		{"the beginning of one", one[:len(one)-1], false},
		{"a ping", clientFrame(final|opPing, nil, [4]byte{}), false},
		{"a fragment", clientFrame(opBinary, []byte("x"), [4]byte{}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got told
			if err := takeIn(append(bytes.Clone(one), tt.behind...), 1<<10, &got); err != nil {
				t.Fatal(err)
			}
			if got.more[0] != tt.more {
				t.Errorf("found more %t behind the first, wanted %t", got.more[0], tt.more)
			}
		})
	}
}

func TestNothingIsHeldBetweenMessages(t *testing.T) {
	f := frames{limit: 1 << 10}
	whole := clientFrame(final|opBinary, []byte("hello"), [4]byte{1})
	for _, part := range [][]byte{whole[:3], whole[3:]} {
		if err := f.take(bytes.Clone(part), &told{}); err != nil {
			t.Fatal(err)
		}
	}
	if f.part != nil {
		t.Error("found something held behind a whole message")
	}
}

func TestFaultyFrames(t *testing.T) {
	closing := func(payload string) []byte { return clientFrame(final|opClose, []byte(payload), [4]byte{}) }
	tests := []struct {
		name  string
		bytes []byte
		code  uint16 // of the close frame; 0: a refusal
	}{
		{"a reserved bit", clientFrame(final|0x40|opBinary, nil, [4]byte{}), closeProtocol},
		{"a long control frame", clientFrame(final|opPing, make([]byte, 126), [4]byte{}), closeProtocol},
		{"a message inside another", append(clientFrame(opBinary, nil, [4]byte{}), clientFrame(final|opBinary, nil, [4]byte{})...), closeProtocol},
		{"a close of one byte", closing("\x03"), closeProtocol},
		{"a close with code 1005", closing("\x03\xed"), closeProtocol},
		{"a close with code 1006", closing("\x03\xee"), closeProtocol},
		{"a close with code 1015", closing("\x03\xf7"), closeProtocol},
		{"a close with code 999", closing("\x03\xe7"), closeProtocol},
		{"a close with code 5000", closing("\x13\x88"), closeProtocol},
		{"a close with code 0", closing("\x00\x00"), closeProtocol},
		{"a close with code 1004", closing("\x03\xec"), closeProtocol},
		{"a close whose reason is not UTF-8", closing("\x03\xe8\xc3\x28"), closeNotUTF8},
		{"too long by its header", clientFrame(final|opBinary, make([]byte, 4<<10+1), [4]byte{})[:8], 0},
		{"too long in fragments", append(clientFrame(opBinary, make([]byte, 4<<10), [4]byte{}), clientFrame(opContinuation, []byte{1}, [4]byte{})[:6]...), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got told
			err := takeIn(tt.bytes, 1<<10, &got)
			fault, ok := errors.AsType[*frameError](err)
			if tt.code != 0 && (!ok || fault.code != tt.code) {
				t.Errorf("found %v, wanted a fault with close code %d", err, tt.code)
			}
			if refusal, ok := errors.AsType[*protocol.Error](err); tt.code == 0 && (!ok || refusal.Code != protocol.CodeMessageTooLarge) {
				t.Errorf("found %v, wanted message_too_large", err)
			}
			if len(got.messages) > 0 {
				t.Errorf("found messages %q", got.messages)
			}
		})
	}
}

// script is a connection on which a client has sent so much and no more.
type script struct {
	net.Conn
	r io.Reader
	w http.ResponseWriter
}

// Read does not end with io.EOF, which the library takes for the end of a message wherever it comes.
func (s *script) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) Header() http.Header              { return s.w.Header() }
func (s *script) WriteHeader(int)                  {}

func (s *script) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return s, bufio.NewReadWriter(bufio.NewReader(s), bufio.NewWriter(s)), nil
}

type scriptedResponse struct{ *script }

func (r scriptedResponse) Write(p []byte) (int, error) { return r.w.Write(p) }

// byLibrary is what coder/websocket reads of stream, until it ends or is wrong.
func byLibrary(t *testing.T, stream []byte) (messages [][]byte) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": wsVersion, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		r.Header.Set(k, v)
	}
	c, err := websocket.Accept(scriptedResponse{&script{r: bytes.NewReader(stream), w: httptest.NewRecorder()}}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(4 << 10)
	for {
		kind, b, err := c.Read(context.Background())
		if err != nil || kind != websocket.MessageBinary {
			return messages
		}
		messages = append(messages, b)
	}
}

// The library reads the same messages, or the same up to where the stream is refused here: it takes text, any number of fragments, and
// reasons that are not UTF-8.
func FuzzFramesAsTheLibrary(f *testing.F) {
	key := [4]byte{9, 8, 7, 6}
	f.Add(append(clientFrame(opBinary, []byte("a"), key), clientFrame(final|opContinuation, []byte("b"), key)...), uint64(1))
	f.Add(append(clientFrame(final|opPing, []byte("a"), key), clientFrame(final|opBinary, make([]byte, 300), key)...), uint64(2))
	f.Add(append(clientFrame(final|opBinary, nil, key), clientFrame(final|opClose, []byte("\x03\xe8bye"), key)...), uint64(3))
	f.Add(append(clientFrame(final|opBinary, []byte("x"), key), 0x82, 0xff, 0x7f, 0xff), uint64(4))
	f.Add(append(clientFrame(final|opText, []byte("x"), key), 0x82), uint64(5))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		want := byLibrary(t, stream)
		var got told
		in, chance := frames{limit: 4 << 10}, rand.New(rand.NewPCG(seed, 1))
		var err error
		for rest := bytes.Clone(stream); len(rest) > 0 && err == nil; {
			n := 1 + chance.IntN(len(rest))
			err = in.take(rest[:n], &got)
			rest = rest[n:]
		}
		same := len(got.messages) <= len(want) && (err != nil || len(got.messages) == len(want))
		for i := 0; same && i < len(got.messages); i++ {
			same = bytes.Equal(got.messages[i], want[i])
		}
		if !same {
			t.Errorf("found %s (%v), the library %s", fmt.Sprintf("%q", got.messages), err, fmt.Sprintf("%q", want))
		}
	})
}

type nothing struct{}

func (nothing) message([]byte, bool) error { return nil }
func (nothing) control(byte, []byte) error { return nil }

func BenchmarkTake(b *testing.B) {
	one := clientFrame(final|opBinary, make([]byte, 180), [4]byte{1, 2, 3, 4})
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprintf("%d messages", n), func(b *testing.B) {
			stream := bytes.Repeat(one, n)
			f := frames{limit: 64 << 10}
			b.ReportAllocs()
			b.SetBytes(int64(len(stream)))
			for b.Loop() {
				if err := f.take(stream, nothing{}); err != nil { // masks it again, which is as good
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("in two pieces", func(b *testing.B) {
		f := frames{limit: 64 << 10}
		b.ReportAllocs()
		for b.Loop() {
			for _, part := range [][]byte{one[:100], one[100:]} {
				if err := f.take(part, nothing{}); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
