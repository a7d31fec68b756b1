package httpapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// fill publishes numbered messages of about 1 kB to orders.1, more than a small ring holds.
func (d *door) fill(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		d.putJSON(t, "orders.1", fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", 1000)), false)
	}
}

func number(t *testing.T, message string) (n int) {
	t.Helper()
	var m struct{ Data struct{ N int } }
	decodeJSON(t, strings.TrimSuffix(message, "+"), &m)
	return m.Data.N
}

// What the log does not hold any more comes from the store. Wherever an answer ends, the next one goes on: nothing is missing and
// nothing comes twice.
func TestPollsGoOnThroughTheStore(t *testing.T) {
	d := storedDoor(t, broker.Options{RingBytes: 64 << 10})
	cursor, next, polls := d.poll(t, "filter=orders.*").Cursor, 0, 0
	const messages = 900
	d.fill(t, messages)
	for ; next < messages && polls < messages; polls++ {
		p := d.poll(t, "filter=orders.*&after="+cursor)
		if p.Gap != nil {
			t.Fatalf("found a gap %s", p.Gap)
		}
		for _, m := range p.lines() {
			if n := number(t, m); n != next || !strings.HasSuffix(m, "+") {
				t.Fatalf("found message %d, wanted %d, with a cursor: %.80s", n, next, m)
			}
			next++
		}
		cursor = p.Cursor
	}
	if polls < 3 || polls > 20 {
		t.Errorf("found %d polls for 900 kB", polls)
	}
	d.putJSON(t, "orders.1", "1", false)
	d.poll(t, "filter=orders.*&after="+cursor).want(t, `{"topic":"orders.1","data":1}+`)
}

// A stream that is cut anywhere goes on behind the last id that its client has seen.
func TestAStreamThatIsCutWhileItReadsTheStoreGoesOn(t *testing.T) {
	d := storedDoor(t, broker.Options{RingBytes: 64 << 10})
	last, next := d.Position().Cursor(), 0
	const messages = 600
	d.fill(t, messages)
	for cut := 7; next < messages; cut += 41 {
		s := d.stream(t, "filter=orders.*", "Last-Event-ID", last)
		for read := 0; read < cut && next < messages; {
			e, ok := s.next()
			if !ok {
				t.Fatal("the stream has ended")
			}
			if e.hasID {
				last = e.id
			}
			if e.name == "gap" {
				t.Fatalf("found %s", e)
			}
			if e.name != "message" {
				continue
			}
			if n := number(t, e.data); n != next || !e.hasID {
				t.Fatalf("found message %d, wanted %d, with an id", n, next)
			}
			read++
			next++
		}
		s.resp.Body.Close()
	}
}

// A stream whose client takes nothing falls behind what the log holds. When the client reads on, the store has what it missed.
func TestAStreamThatFallsBehindGoesOnFromTheStore(t *testing.T) {
	d := storedDoor(t, broker.Options{RingBytes: 1 << 20, PingEvery: 24 * time.Hour})
	s := d.stream(t, "filter=orders.*&retained=false")
	s.want("live {} +")
	const messages = 400 // 24 MB: more than sockets hold
	pad := strings.Repeat("x", 60_000)
	for i := range messages {
		d.putJSON(t, "orders.1", fmt.Sprintf(`{"n":%d,"pad":%q}`, i, pad), false)
	}
	if d.Stats().Lagging == 0 {
		t.Fatal("the stream does not lag")
	}
	for next := 0; next < messages; {
		e, ok := s.next()
		if !ok || e.name == "gap" {
			t.Fatalf("found %.100s, %v", e, ok)
		}
		if e.name != "message" {
			continue
		}
		if n := number(t, e.data); n != next || !e.hasID {
			t.Fatalf("found message %d, wanted %d, with an id", n, next)
		}
		next++
	}
	if len(d.store.Reads()) == 0 {
		t.Error("the store was not read")
	}
}

// Another run of the broker has another log: stored topics go on from the store, the others are told as missing, once.
func TestAfterARestartStoredTopicsGoOnAndOthersAreToldAsMissing(t *testing.T) {
	store := brokertest.NewStore()
	rules := []broker.TopicRule{{Match: "orders.>", Class: broker.ClassStored}}
	run := func() *door {
		d := newDoorWith(t, Options{}, broker.Options{Store: store, Topics: rules})
		if err := d.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := run()
	cursor := d.Position().Cursor()
	for _, topic := range []string{"orders.1", "news", "orders.2"} {
		d.putJSON(t, topic, "1", false)
	}
	d.Close()
	d = run()
	d.poll(t, "filter=orders.*&after="+cursor).want(t, `{"topic":"orders.1","data":1}+`, `{"topic":"orders.2","data":1}+`)
	d.putJSON(t, "news", "2", false)
	want := []string{`{"topic":"orders.1","data":1}+`, `{"topic":"orders.2","data":1}+`, `{"topic":"news","data":2}+`}
	var found, gaps []string
	for at, polls := cursor, 0; len(found) < len(want) && polls < 9; polls++ {
		p := d.poll(t, "filter=>&retained=false&after="+at)
		found, at = append(found, p.lines()...), p.Cursor
		if p.Gap != nil {
			gaps = append(gaps, noTimes(string(p.Gap)))
		}
	}
	if !slices.Equal(found, want) || !slices.Equal(gaps, []string{`{"reason":"not_stored"}`}) {
		t.Errorf("polls found %q and gaps %q", found, gaps)
	}
	found, gaps = nil, nil
	s := d.stream(t, "filter=>", "Last-Event-ID", cursor)
	for len(found) < len(want) {
		e, ok := s.next()
		switch {
		case !ok:
			t.Fatal("the stream has ended")
		case e.name == "gap":
			gaps = append(gaps, e.String())
		case e.name == "message":
			found = append(found, strings.TrimSuffix(noTimes(e.data), " ")+"+")
		}
	}
	if !slices.Equal(found, want) || !slices.Equal(gaps, []string{`gap {"reason":"not_stored"}`}) {
		t.Errorf("a stream found %q and gaps %q", found, gaps)
	}
}

// The beginning of what was missed is gone: that is told first, and what is retained is sent where the log begins again. An answer has
// one gap for all that is missing.
func TestAPollIsToldWhatTheStoreHasTrimmed(t *testing.T) {
	store := brokertest.NewStore()
	d := newDoorWith(t, Options{}, broker.Options{
		Store: store, RingBytes: 64 << 10,
		Topics: []broker.TopicRule{{Match: "orders.>", Class: broker.ClassStored, History: broker.History{Count: 300}}},
	})
	if err := d.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	cursor := d.Position().Cursor()
	d.putJSON(t, "orders.9", "9", true)
	d.fill(t, 500)
	p := d.poll(t, "filter=orders.*&after="+cursor)
	gap, first := noTimes(string(p.Gap)), p.lines()[0]
	if gap != `{"reason":"trimmed"}` || len(p.Reset) != 1 || first != `{"topic":"orders.9","data":9,"retain":true}` && number(t, first) != 200 {
		t.Errorf("found gap %s, reset %v, first %.100s", gap, p.Reset, first)
	}
	retained, next := 0, 200
	for _, m := range p.lines() {
		switch {
		case strings.Contains(m, `"retained":true`):
			retained++
		case strings.Contains(m, `"orders.9"`):
		default:
			if n := number(t, m); n != next {
				t.Fatalf("found message %d, wanted %d", n, next)
			}
			next++
		}
	}
	if retained != 1 || p.Cursor == "" {
		t.Errorf("found %d retained messages, cursor %q", retained, p.Cursor)
	}
	for next < 500 {
		p = d.poll(t, "filter=orders.*&after="+p.Cursor)
		for _, m := range p.lines() {
			if n := number(t, m); n != next {
				t.Fatalf("found message %d, wanted %d", n, next)
			}
			next++
		}
	}
}

// Until the retained messages that a gap is followed by have been sent nothing is told, whatever comes between.
func TestWhatIsOwedIsNotForgotten(t *testing.T) {
	d := storedDoor(t, broker.Options{})
	at := protocol.Position{Epoch: protocol.RunID{1}, Seq: 3, Term: d.Position().Term, Offset: 4}
	p := newPlace(d.core)
	p.gap(&protocol.Gap{Reason: protocol.GapTrimmed, To: at}, false)
	p.gap(&protocol.Gap{Reason: protocol.GapLive, To: at}, false)
	if !p.owed || !p.at.IsZero() {
		t.Errorf("found %+v", p)
	}
	if p.told(at); p.owed || p.at != at {
		t.Errorf("found %+v", p)
	}
}
