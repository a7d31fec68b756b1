package broker

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// carryIDs brings t into the next run, after elapsed.
func carryIDs(t *testing.T, from *messageIDs, elapsed time.Duration) (*messageIDs, error) {
	t.Helper()
	var written bytes.Buffer
	w := newCarryWriter(&written)
	from.write(w, time.Now())
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(elapsed)
	r, to := newCarryReader(&written), newMessageIDs(2)
	to.read(r, elapsed)
	return to, r.close()
}

func TestMessageIDsGoOverAPlannedRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := newMessageIDs(Unlimited)
		begin := func(table *messageIDs, id, payload string) (uint64, protocol.Published, bool, *protocol.Error) {
			return table.begin("ann", &PublishRequest{Topic: "a", Payload: []byte(payload), MessageID: id}, time.Now(), nil)
		}
		for id, p := range map[string]*publication{
			"early":  {message: message{seq: 1}},
			"placed": {message: message{seq: 7}},
			"kept":   {message: message{seq: 8, offset: 3}},
			"live":   {message: message{seq: 9, class: ClassLive}},
		} {
			if id != "early" {
				time.Sleep(10 * time.Second)
			}
			p.messageKey, _, _, _ = begin(from, id, "x")
			from.answered(p, protocol.Published{}, nil)
		}
		unknown := &publication{}
		unknown.messageKey, _, _, _ = begin(from, "unknown", "x")
		from.answered(unknown, protocol.Published{}, errUnknown)

		to, err := carryIDs(t, from, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]protocol.Published{
			"placed": {Seq: 7, Receivers: -1, Duplicate: true},
			"kept":   {Seq: 8, Offset: 3, Durability: protocol.Committed, Receivers: -1, Duplicate: true},
			"live":   {Receivers: -1, Duplicate: true},
		} {
			if _, ack, answered, err := begin(to, id, "x"); err != nil || !answered || ack != want {
				t.Errorf("found %+v, %v of %q, wanted %+v", ack, err, id, want)
			}
			if _, _, _, err := begin(to, id, "y"); err == nil || err.Code != protocol.CodeDuplicateID {
				t.Errorf("found %v of %q, wanted duplicate_id", err, id)
			}
		}
		if _, _, _, err := begin(to, "unknown", "x"); err != errUnknown {
			t.Errorf("found %v, wanted that the outcome is unknown", err)
		}
		if _, _, _, err := begin(to, "new", "x"); err == nil || err.Code != protocol.CodeQuota {
			t.Errorf("found %v, wanted quota: the table is larger than this run's limit", err)
		}
		time.Sleep(91 * time.Second) // of the 150 that they are kept, a minute has gone with the restart
		if n := to.size(); n != 0 {
			t.Errorf("found %d ids, wanted none", n)
		}
	})
}

func TestCarriedMessageIDsOfAnotherFormAreRefused(t *testing.T) {
	for name, write := range map[string]func(w *carryWriter){
		"many generations": func(w *carryWriter) { w.uint(1 << 20) },
		"from the future":  func(w *carryWriter) { w.uint(1); w.int(-1); w.uint(0) },
		"too old":          func(w *carryWriter) { w.uint(1); w.int(1 << 40); w.uint(0) },
		"no end":           func(w *carryWriter) { w.uint(1); w.int(0); w.uint(1 << 40) },
		"a large key":      func(w *carryWriter) { w.uint(1); w.int(0); w.uint(1); w.uint(1 << 32); w.uint(0) },
	} {
		var written bytes.Buffer
		w := newCarryWriter(&written)
		w.raw(make([]byte, 16))
		write(w)
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		r := newCarryReader(&written)
		newMessageIDs(Unlimited).read(r, 0)
		if r.close() == nil {
			t.Errorf("%s: found no error", name)
		}
	}
}
