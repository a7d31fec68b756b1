package broker_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// compressed is a connection that sends payloads compressed.
type compressed struct {
	*brokertest.Conn
	b *broker.Broker

	mu     sync.Mutex
	bodies [][]byte // what was sent of each message
}

func (c *compressed) Compress() bool { return true }

func (c *compressed) Write(batch []*broker.Packet) (bool, error) {
	c.mu.Lock()
	for _, p := range batch {
		if p.Type() == protocol.TypeMessage {
			c.bodies = append(c.bodies, c.b.Compressed(p))
		}
	}
	c.mu.Unlock()
	return c.Conn.Write(batch)
}

// take takes what was sent.
func (c *compressed) take() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	bodies := c.bodies
	c.bodies = nil
	return bodies
}

// dialCompressed connects a client that asks for a compression.
func dialCompressed(t *testing.T, b *broker.Broker, ask string) (*compressed, *broker.Session, string) {
	t.Helper()
	c := &compressed{Conn: brokertest.NewConn(), b: b}
	s, err := b.Open(c, broker.ConnInfo{Transport: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Closed(nil) })
	if err := s.Receive((&protocol.Connect{Version: 1, Compress: ask}).Append(nil), false); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	connected, ok := c.Packets()[0].(*protocol.Connected)
	if !ok {
		t.Fatal("found no Connected")
	}
	return c, s, connected.Compress
}

// inflated is the payload of a message as it was published, and whether it was compressed.
func inflated(t *testing.T, body []byte) (payload []byte, was bool) {
	t.Helper()
	raw, rest, err := protocol.Next(body)
	var m protocol.Message
	if err == nil {
		err = m.Decode(raw)
	}
	if err != nil || len(rest) > 0 {
		t.Fatalf("%v, %d bytes behind the packet", err, len(rest))
	}
	if m.Encoding == "" {
		return m.Payload, false
	}
	in := bytes.NewReader(m.Payload)
	payload, err = io.ReadAll(flate.NewReader(in))
	if err != nil || in.Len() > 0 || m.Encoding != "deflate-raw" {
		t.Fatalf("%q: %v, %d bytes behind the stream", m.Encoding, err, in.Len())
	}
	return payload, true
}

// listJSON is JSON of about n bytes.
func listJSON(n int) string {
	var b strings.Builder
	b.WriteString("[0")
	for i := 1; b.Len() < n-12; i++ {
		fmt.Fprintf(&b, `,{"id":%d}`, i)
	}
	return b.String() + "]"
}

// [CON-12]: what a client is told of the compression that it asks for.
func TestACompressionIsAgreedOn(t *testing.T) {
	for _, tt := range []struct {
		name, ask, told string
		off             bool
	}{
		{"the one there is", "deflate-raw", "deflate-raw", false},
		{"another", "br", "", false},
		{"none", "", "", false},
		{"the one there is, turned off", "deflate-raw", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{NoCompress: tt.off})
				if _, _, told := dialCompressed(t, b, tt.ask); told != tt.told {
					t.Errorf("found %q, wanted %q", told, tt.told)
				}
			})
		})
	}
	t.Run("a transport that cannot", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := brokertest.Open(t, start(t, broker.Options{}), broker.ConnInfo{})
			c.Send(&protocol.Connect{Version: 1, Compress: protocol.CompressDeflate})
			if p := brokertest.Expect[*protocol.Connected](c); p.Compress != "" {
				t.Errorf("found %q", p.Compress)
			}
		})
	})
}

// [MSG-5]: which payloads are compressed.
func TestWhatIsCompressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Topics: []broker.TopicRule{{Match: "live", Class: broker.ClassLive}}})
		c, s, _ := dialCompressed(t, b, protocol.CompressDeflate)
		if err := s.Receive((&protocol.Subscribe{ID: 1, Filter: ">"}).Append(nil), false); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.take()
		for _, tt := range []struct {
			name string
			r    broker.PublishRequest
			want bool
		}{
			{"JSON", broker.PublishRequest{Topic: "a", Payload: []byte(listJSON(2000)), ContentType: "application/json"}, true},
			{"512 bytes", broker.PublishRequest{Topic: "a", Payload: []byte(listJSON(600)[:512])}, true},
			{"511 bytes", broker.PublishRequest{Topic: "a", Payload: []byte(listJSON(600)[:511])}, false},
			{"511 bytes with long headers", broker.PublishRequest{Topic: "a", Payload: []byte(listJSON(600)[:511]), Headers: map[string]string{"a": kib(1)}}, false},
			{"nothing to gain", broker.PublishRequest{Topic: "a", Payload: pseudorandom(2000)}, false},
			{"an image", broker.PublishRequest{Topic: "a", Payload: []byte(listJSON(2000)), ContentType: "image/png"}, false},
			{"a drawing", broker.PublishRequest{Topic: "a", Payload: []byte(listJSON(2000)), ContentType: "image/svg+xml"}, true},
			{"of class live", broker.PublishRequest{Topic: "live", Payload: []byte(listJSON(2000))}, true},
			{"retained, with headers", broker.PublishRequest{Topic: "b", Payload: []byte(listJSON(2000)), Retain: true, Headers: map[string]string{"a": "b"}}, true},
		} {
			before := b.Stats().Saved
			if _, err := b.Publish(t.Context(), broker.Everybody(), tt.r); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			bodies := c.take()
			if len(bodies) != 1 {
				t.Fatalf("%s: found %d messages", tt.name, len(bodies))
			}
			payload, was := inflated(t, bodies[0])
			if was != tt.want || !bytes.Equal(payload, tt.r.Payload) {
				t.Errorf("%s: compressed is %t, and the payload the same: %t", tt.name, was, bytes.Equal(payload, tt.r.Payload))
			}
			if saved := b.Stats().Saved > before; saved != tt.want {
				t.Errorf("%s: bytes were saved: %t", tt.name, saved)
			}
		}
	})
}

// pseudorandom are bytes that cannot be compressed.
func pseudorandom(n int) []byte {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return b
}

// [MSG-5], A6: a message is compressed once for all sessions on all shards, and those behind get the same bytes. When its form had to go, it is
// not compressed again.
func TestAMessageIsCompressedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ring = 256 << 10
		b := start(t, broker.Options{RingBytes: ring, Shards: 4})
		var all []*compressed
		subscribe := func(p *protocol.Subscribe) *compressed {
			c, s, _ := dialCompressed(t, b, protocol.CompressDeflate)
			if err := s.Receive(p.Append(nil), false); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return c
		}
		for range 12 {
			all = append(all, subscribe(&protocol.Subscribe{ID: 1, Filter: "a"}))
		}
		formers(t, b, 1, broker.FollowRequest{Filters: []string{"a"}, NoRetained: true}) // events take room, too
		before := b.Position()
		for i := range 400 {
			publish(t, b, "a", fmt.Sprint(i)+listJSON(600))
			synctest.Wait()
		}
		first := all[0].take()
		for i, c := range all[1:] {
			for n, body := range c.take() {
				if &body[0] != &first[n][0] {
					t.Fatalf("session %d got message %d in other bytes than the first", i+1, n)
				}
			}
		}
		charged, held := b.RingBytes()
		if charged != held || b.FormBytes() <= 0 || b.FormBytes() > ring/4 {
			t.Errorf("found the ring charged %d bytes for %d, forms of %d", charged, held, b.FormBytes())
		}
		late := subscribe(&protocol.Subscribe{ID: 1, Filter: "a", Position: before.Append(nil)}).take()
		if len(late) == 0 || len(late) == len(first) {
			t.Fatalf("found %d messages replayed", len(late))
		}
		plain, shared := 0, 0
		for n, body := range late {
			switch _, was := inflated(t, body); {
			case !was:
				plain++
			case &body[0] == &first[len(first)-len(late)+n][0]:
				shared++
			default:
				t.Fatalf("message %d was compressed again", n)
			}
		}
		if plain == 0 || shared == 0 {
			t.Errorf("found %d plain and %d compressed, wanted both", plain, shared)
		}
	})
}

// What is retained is compressed once too when it came from the store, or has left the log, and takes a bounded part of the memory.
func TestWhatIsRetainedIsCompressedOnce(t *testing.T) {
	const ring = 128 << 10
	withStore(t, broker.Options{RingBytes: ring}, func(t *testing.T, x *stored) {
		for i := range 60 {
			retain(t, x.b, fmt.Sprintf("kept.%02d", i), listJSON(3000+i))
		}
		for range 300 {
			publish(t, x.b, "other", kib(1)) // the values leave the log
		}
		checkRetained(t, x.b, ring)
		again := start(t, broker.Options{Store: x.store, RingBytes: ring}) // its values come from the store
		synctest.Wait()
		checkRetained(t, again, ring)
	})
}

// checkRetained reads what is retained twice: the second reader gets the bytes of the first, or plain ones.
func checkRetained(t *testing.T, b *broker.Broker, ring int64) {
	t.Helper()
	var read [2][][]byte
	for i := range read {
		c, s, _ := dialCompressed(t, b, protocol.CompressDeflate)
		if err := s.Receive((&protocol.Subscribe{ID: 1, Filter: "kept.>"}).Append(nil), false); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if read[i] = c.take(); len(read[i]) != 60 {
			t.Fatalf("found %d values", len(read[i]))
		}
	}
	shared := 0
	for n, body := range read[1] {
		switch _, was := inflated(t, body); {
		case was && &body[0] == &read[0][n][0]:
			shared++
		case was:
			t.Fatalf("value %d was compressed again", n)
		}
		if payload, _ := inflated(t, body); string(payload) != listJSON(3000+n) {
			t.Fatalf("value %d is another", n)
		}
	}
	if shared == 0 || shared == 60 {
		t.Errorf("found %d of 60 values kept compressed in a ring of %d", shared, ring)
	}
	charged, held := b.RingBytes()
	if forms := b.FormBytes(); charged != held || forms > ring/4 {
		t.Errorf("found the ring charged %d for %d, forms of %d", charged, held, forms)
	}
}
