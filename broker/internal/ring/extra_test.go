package ring

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

func retainedMessage(payload string, expires int64) Message {
	m := NewMessage(&protocol.Message{Topic: "a", Payload: []byte(payload), Retain: true})
	if expires != 0 {
		m.Extra = &Extra{Expires: expires}
	}
	return m
}

// PUB-13: a packet knows its end as long as there is one, also when its forms have been given up; the ring is charged for all of it.
func TestAPacketWhoseFormsAreGivenUpKnowsItsEnd(t *testing.T) {
	r := New(1<<20, NewRetained(-1, -1))
	m := retainedMessage("1", 12345)
	e, _ := r.Append(&m)
	p := e.Packet()
	for range 2 {
		if form := r.Form(p, FormJSON, func(*Packet) ([]byte, bool) { return []byte("json"), true }); string(form) != "json" {
			t.Fatalf("found the form %q", form)
		}
		if charged, _, held := r.Charged(); p.Expires() != 12345 || charged != held {
			t.Errorf("found the end %d, %d bytes charged for %d", p.Expires(), charged, held)
		}
		r.mu.Lock()
		r.dropFormsLocked(r.chunks[0], true)
		r.mu.Unlock()
		if charged, forms, held := r.Charged(); p.Expires() != 12345 || charged != held || forms != 0 {
			t.Errorf("found the end %d, %d bytes charged for %d, %d of forms", p.Expires(), charged, held, forms)
		}
	}
}

// PUB-13, K4: what is removed at its end is the value that has expired: one that has taken its place meanwhile stays.
func TestOnlyWhatHasExpiredIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := NewRetained(-1, -1)
		kept.KeepEnds()
		r := New(1<<20, kept)
		first := retainedMessage("1", r.Now()+1000)
		r.Append(&first)
		remove := func() (removed bool) {
			m := retainedMessage("", 0)
			e, _ := r.AppendExpired(&m)
			return e != nil
		}
		if remove() {
			t.Error("removed what has not expired")
		}
		time.Sleep(time.Second)
		if ended := kept.Ended(r.Now(), 10); len(ended) != 1 || ended[0] != "a" {
			t.Errorf("found %q to have ended", ended)
		}
		later := retainedMessage("2", 0)
		r.Append(&later)
		if remove() || len(kept.Ended(r.Now(), 10)) != 0 {
			t.Error("removed what has taken its place")
		}
		last := retainedMessage("3", r.Now())
		r.Append(&last)
		if !remove() || remove() || !kept.IsEmpty() {
			t.Error("not removed, or twice")
		}
	})
}
