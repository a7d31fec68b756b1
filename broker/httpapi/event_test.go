package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"testing"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/broker/internal/msgjson"
	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/internal/require"
	"github.com/carillon-mq/carillon/protocol"
)

// keeper is a connection that keeps the messages it is sent.
type keeper struct {
	brokertest.Sink
	messages chan *broker.Packet
}

func (k *keeper) Write(batch []*broker.Packet) (bool, error) {
	for _, p := range batch {
		if p.Type() == protocol.TypeMessage {
			k.messages <- p
		}
	}
	return true, nil
}

// oneMessage is a message of a running broker, and a stream that is read to its end.
func oneMessage(t testing.TB) (*stream, []*broker.Packet) {
	t.Helper()
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(b.Close)
	k := &keeper{messages: make(chan *broker.Packet, 1)}
	session, err := b.Open(k, broker.ConnInfo{Identity: broker.Everybody()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Closed(nil) })
	if err := session.Follow(broker.FollowRequest{Filters: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	payload, err := msgpack.Marshal(map[string]any{"id": 42, "status": "shipped", "total": 19.99, "items": []string{"a", "b"}, "by": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "a", Payload: payload}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, client)
	}()
	s := &stream{h: &Handler{b: b}, nc: server, out: outlet.New(server, outlet.Options{}), filters: []string{"a"}}
	t.Cleanup(func() {
		s.out.End(false)
		<-read
		client.Close()
	})
	return s, []*broker.Packet{<-k.messages}
}

// A delivery of a message that has its event costs a copy and a write, and no memory.
func TestADeliveryOfAnEventAllocatesNothing(t *testing.T) {
	s, batch := oneMessage(t)
	allocations := testing.AllocsPerRun(1000, func() {
		done, err := s.Write(batch)
		if err != nil {
			t.Fatal(err)
		}
		if !done {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocations >= 0.5 && !require.RaceDetector { // with the race detector a pool drops what it is given now and then
		t.Errorf("found %.1f allocations a delivery", allocations)
	}
}

func BenchmarkEventDelivery(b *testing.B) {
	s, batch := oneMessage(b)
	b.ReportAllocs()
	for b.Loop() {
		if done, err := s.Write(batch); err != nil {
			b.Fatal(err)
		} else if !done {
			if err := s.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkEventEncoding(b *testing.B) {
	payload, err := msgpack.Marshal(map[string]any{"id": 42, "status": "shipped", "total": 19.99, "items": []string{"a", "b"}, "by": "alice"})
	if err != nil {
		b.Fatal(err)
	}
	m := protocol.Message{Seq: 1, Topic: "orders.42", Payload: payload, Time: 1763694900123}
	at := protocol.Position{Epoch: protocol.NewRunID(), Seq: 1}
	b.ReportAllocs()
	for b.Loop() {
		encodeEvent(&m, at)
	}
}

// FuzzEvent: whatever is published, the event is three lines of which the second is JSON that says what was published.
func FuzzEvent(f *testing.F) {
	for _, seed := range []struct{ topic, contentType, payload string }{
		{"a", "", "\x81\xa1a\x01"},
		{"a.b", "application/json", "{\"a\":\n1}"},
		{"a", "text/plain", "x\ny\r\n"},
		{"a", "image/png", "\x00\xff"},
		{"é\u2028", "a\"b", ""},
		{"a", "application/json; charset=x", "\"\xff\""},
		{"a", "x+json", "[1 ]"},
	} {
		f.Add(seed.topic, seed.contentType, []byte(seed.payload))
	}
	f.Fuzz(func(t *testing.T, topic, contentType string, payload []byte) {
		if !utf8.ValidString(topic) || !utf8.ValidString(contentType) {
			return // not published
		}
		at := protocol.Position{Epoch: protocol.RunID{1}, Seq: 5}
		b := encodeEvent(&protocol.Message{Topic: topic, ContentType: contentType, Payload: payload}, at)
		if bytes.Count(b, []byte("\n")) != 4 || bytes.ContainsRune(b, '\r') || !bytes.HasSuffix(b, []byte("\nid: "+at.Cursor()+"\n\n")) {
			t.Fatalf("found %q", b)
		}
		object, cursor := eventObject(b)
		if string(cursor) != at.Cursor() {
			t.Fatalf("found cursor %q", cursor)
		}
		for _, object := range [][]byte{object, appendRetained(nil, object)} {
			var got struct {
				Topic  string
				Data   json.RawMessage
				Base64 *string `json:"data_base64"`
				Type   string  `json:"content_type"`
			}
			if err := json.Unmarshal(object, &got); err != nil || got.Topic != topic || (got.Data == nil) == (got.Base64 == nil) {
				t.Fatalf("found %s: %v", object, err)
			}
			if got.Base64 == nil {
				continue
			}
			if back, err := base64.StdEncoding.DecodeString(*got.Base64); err != nil || !bytes.Equal(back, payload) {
				t.Fatalf("found %s for %x", object, payload)
			}
			if got.Type != contentType && msgjson.KindOf(contentType) != msgjson.Msgpack {
				t.Fatalf("found type %q, wanted %q", got.Type, contentType)
			}
		}
	})
}
