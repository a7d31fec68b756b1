package carillon

import (
	"bytes"
	"compress/flate"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/carillon-mq/carillon/protocol"
)

// deflate is payload as a broker compresses it.
func deflate(t testing.TB, payload string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(payload)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compressed(seq uint64, payload []byte) *protocol.Message {
	return &protocol.Message{Seq: seq, Topic: "a", Payload: payload, ContentType: typeText, Time: 1000, Encoding: protocol.CompressDeflate}
}

// compressing is the greeting of a broker that compresses, and takes payloads of at most so many bytes.
func compressing(payload int64) *protocol.Connected {
	hello := connected(at(5, 0))
	hello.Compress = protocol.CompressDeflate
	if payload > 0 {
		hello.Limits = map[string]int64{"payload": payload}
	}
	return hello
}

// [CON-12], [MSG-5]: a client asks for compression and hands out what was in it, live, in replays and in histories.
func TestCompressedPayloadsAreInflated(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker) {
		c, fc := b.dialWith(compressing(1000))
		if fc.hello.Compress != protocol.CompressDeflate {
			t.Errorf("asked for %q, want %q", fc.hello.Compress, protocol.CompressDeflate)
		}
		r, long := read(t, c.Subscribe("a", NoRetained())), strings.Repeat("x", 1000)
		id := fc.live("a", at(5, 0))
		fc.send(compressed(6, deflate(t, long)), msg(7, 0, "a", "plain"), compressed(8, deflate(t, "short")), compressed(9, deflate(t, "")),
			&protocol.Replay{Subscription: id, Count: 1}, compressed(10, deflate(t, "replayed")))
		r.next("message a="+long, "message a=plain", "message a=short", "message a=", "message a=replayed")

		page := make(chan *HistoryPage, 1)
		go func() {
			p, err := c.History(t.Context(), "a")
			if err != nil {
				t.Error(err)
			}
			page <- p
		}()
		ask := expect[*protocol.History](fc)
		kept := compressed(0, deflate(t, "kept"))
		kept.Offset = 3
		fc.send(&protocol.Replay{Subscription: ask.ID, Count: 1, Kind: protocol.ReplayHistory}, kept, &protocol.Histories{ID: ask.ID, Position: at(0, 3)})
		if p := <-page; p == nil || len(p.Messages) != 1 || string(p.Messages[0].Payload) != "kept" {
			t.Errorf("got %+v, want the message that is kept", p)
		}
	})
}

func TestWithoutCompressionNothingIsAskedFor(t *testing.T) {
	inBubble(t, func(_ *testing.T, b *fakeBroker) {
		_, fc := b.dial(at(5, 0), WithoutCompression())
		if fc.hello.Compress != "" {
			t.Errorf("asked for %q, want nothing", fc.hello.Compress)
		}
	})
}

// [MSG-5]: what is not one stream to its end, is longer than allowed, or was not agreed breaks the connection; the message is not lost.
func TestBrokenCompressionBreaksTheConnection(t *testing.T) {
	whole := deflate(t, "hello, hello, hello")
	other := compressed(6, whole)
	other.Encoding = "br"
	tests := []struct {
		name  string
		hello *protocol.Connected
		m     *protocol.Message
	}{
		{"garbage", compressing(0), compressed(6, []byte{0xff, 0xff, 0xff})},
		{"empty", compressing(0), compressed(6, nil)},
		{"cut", compressing(0), compressed(6, whole[:len(whole)-1])},
		{"something behind it", compressing(0), compressed(6, append(bytes.Clone(whole), 0))},
		{"longer than the limit", compressing(18), compressed(6, whole)},
		{"longer than 16 MiB without a limit", compressing(0), compressed(6, deflate(t, strings.Repeat("x", readLimit+1)))},
		{"of another encoding", compressing(0), other},
		{"not agreed", connected(at(5, 0)), compressed(6, whole)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker) {
				c, fc := b.dialWith(test.hello)
				r := read(t, c.Subscribe("a", NoRetained()))
				fc.live("a", at(5, 0))
				synctest.Wait()
				fc.send(test.m)
				<-fc.over
				r.quiet()
				fc = b.resume(at(6, 0))
				id := fc.resumes("a", at(5, 0))
				fc.send(&protocol.Replay{Subscription: id, Count: 1}, msg(6, 0, "a", "whole"), &protocol.Resumed{Subscription: id, Position: at(6, 0)})
				r.next("message a=whole", "resumed")
			})
		})
	}
}

// BenchmarkInflate is one message of 2,000 bytes that was compressed, from the packet to the application's hands. Beside what a message that was
// not compressed allocates there is the name of the encoding.
func BenchmarkInflate(b *testing.B) {
	text := strings.Repeat("carillon ", 2000/9)
	tests := []struct {
		name string
		m    protocol.Message
	}{
		{"plain", protocol.Message{Topic: "0.x", Payload: []byte(text), Time: 1}},
		{"deflate-raw", protocol.Message{Topic: "0.x", Payload: deflate(b, text), Time: 1, Encoding: protocol.CompressDeflate}},
	}
	for _, test := range tests {
		b.Run(test.name, func(b *testing.B) {
			c, cn, subs := benchClient(b, 1)
			cn.compress, cn.maxPayload = protocol.CompressDeflate, readLimit
			tail := test.m.AppendTail(make([]byte, protocol.MessageHeadroom, 4096))
			b.ReportAllocs()
			seq := uint64(1)
			for b.Loop() {
				seq++
				if err := c.handle(b.Context(), cn, protocol.FinishMessage(tail, seq, 0)); err != nil {
					b.Fatal(err)
				}
				if _, _, ok, _ := subs[0].in.tryTake(); !ok {
					b.Fatal("nothing came")
				}
			}
		})
	}
}
