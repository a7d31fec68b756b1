package messageids_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/messageids"
)

type table = messageids.Table[string]

func begin(t *table, id, payload, who string) (uint64, messageids.Place, messageids.Outcome) {
	return t.Begin(&messageids.Publish{User: "ann", ID: id, Topic: "a", Payload: []byte(payload)}, time.Now(), who)
}

// first begins a publish that has to be the first of its id.
func first(t *testing.T, table *table, id string) (key uint64) {
	t.Helper()
	key, _, outcome := begin(table, id, "x", "")
	if outcome != messageids.First || key == 0 {
		t.Fatalf("found outcome %d and key %d of %q", outcome, key, id)
	}
	return key
}

func wantOutcome(t *testing.T, table *table, id, payload string, want messageids.Outcome) messageids.Place {
	t.Helper()
	key, at, outcome := begin(table, id, payload, id+payload)
	if outcome != want || key != 0 {
		t.Errorf("found outcome %d and key %d of %q, wanted %d", outcome, key, id, want)
	}
	return at
}

func TestWhatARepetitionIs(t *testing.T) {
	table := messageids.New[string](-1)
	way := first(t, table, "on its way")
	placed := messageids.Place{Seq: 7, Offset: 3}
	table.Appended(first(t, table, "placed"), placed)
	table.Answered(first(t, table, "no place"), messageids.Place{})
	unclear := first(t, table, "unclear")
	table.Refused(unclear, true)
	refused := first(t, table, "refused")
	table.Refused(refused, false)
	withdrawn := first(t, table, "withdrawn")
	table.Refused(withdrawn, true)
	table.Withdraw(withdrawn)

	wantOutcome(t, table, "on its way", "x", messageids.Waits)
	wantOutcome(t, table, "on its way", "y", messageids.Differs)
	if at := wantOutcome(t, table, "placed", "x", messageids.Repeats); at != placed {
		t.Errorf("found %+v", at)
	}
	if at := wantOutcome(t, table, "no place", "x", messageids.Repeats); at != (messageids.Place{}) {
		t.Errorf("found %+v", at)
	}
	wantOutcome(t, table, "placed", "y", messageids.Differs)
	wantOutcome(t, table, "unclear", "x", messageids.Unclear)
	table.Appended(unclear, placed) // after all
	wantOutcome(t, table, "unclear", "x", messageids.Repeats)
	first(t, table, "refused")
	first(t, table, "withdrawn")
	if who := table.Answered(way, placed); !slices.Equal(who, []string{"on its wayx"}) {
		t.Errorf("found %q waiting", who)
	}
	if who := table.Answered(way, placed); len(who) > 0 {
		t.Errorf("found %q waiting still", who)
	}
	if n := table.Len(); n != 6 {
		t.Errorf("found %d ids, wanted 6", n)
	}
	table.Appended(0, placed) // a publish without an id
	table.Withdraw(0)
}

func TestATableIsFullUntilItsWindowHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := messageids.New[string](2)
		first(t, table, "a")
		time.Sleep(100 * time.Second)
		first(t, table, "b")
		wantOutcome(t, table, "c", "x", messageids.Full)
		time.Sleep(51 * time.Second)
		first(t, table, "c")
		wantOutcome(t, table, "d", "x", messageids.Full)
		time.Sleep(time.Hour)
		if n := table.Len(); n != 0 {
			t.Errorf("found %d ids after an hour", n)
		}
	})
}

func TestNamesAreOfTheWholePublish(t *testing.T) {
	base := messageids.Publish{
		User: "ann", ID: "1", Topic: "a", ContentType: "b", Payload: []byte("c"), Headers: map[string]string{"d": "e", "f": "g"},
	}
	names := func(p messageids.Publish) string {
		var into [2 * messageids.NameBytes]byte
		key, digest := p.Names(&into)
		return fmt.Sprintf("%x %x", key, digest)
	}
	if again := base; names(base) != names(again) {
		t.Error("found two names of one publish")
	}
	seen := map[string]bool{names(base): true}
	for i, change := range []func(p *messageids.Publish){
		func(p *messageids.Publish) { p.User, p.ID = "an", "n1" },
		func(p *messageids.Publish) { p.ID = "2" },
		func(p *messageids.Publish) { p.Topic, p.ContentType = "ab", "" },
		func(p *messageids.Publish) { p.Payload = nil },
		func(p *messageids.Publish) { p.Headers = map[string]string{"d": "e"} },
		func(p *messageids.Publish) { p.Headers = map[string]string{"d": "ef", "g": ""} },
		func(p *messageids.Publish) { p.Retain = true },
	} {
		p := base
		change(&p)
		if name := names(p); seen[name] {
			t.Errorf("change %d: found the same names", i)
		} else {
			seen[name] = true
		}
	}
}

// carried is the table in the next run, elapsed later, of another limit.
func carried(t *testing.T, from *table, limit int, elapsed time.Duration) *table {
	t.Helper()
	var written bytes.Buffer
	if err := from.Write(&written, time.Now()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(elapsed)
	to := messageids.New[string](limit)
	if err := to.Read(&written, elapsed); err != nil {
		t.Fatal(err)
	}
	if written.Len() > 0 {
		t.Errorf("found %d bytes left over", written.Len())
	}
	return to
}

func TestATableGoesOverAPlannedRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := messageids.New[string](-1)
		first(t, from, "early")
		time.Sleep(40 * time.Second)
		want := map[string]messageids.Place{"placed": {Seq: 7}, "kept": {Seq: 1 << 52, Offset: 1 << 52}, "live": {}}
		for id, at := range want {
			from.Answered(first(t, from, id), at)
		}
		from.Refused(first(t, from, "unclear"), true)
		to := carried(t, from, 2, 111*time.Second)
		for id, at := range want {
			if found := wantOutcome(t, to, id, "x", messageids.Repeats); found != at {
				t.Errorf("found %+v of %q, wanted %+v", found, id, at)
			}
			wantOutcome(t, to, id, "y", messageids.Differs)
		}
		wantOutcome(t, to, "unclear", "x", messageids.Unclear)
		wantOutcome(t, to, "early", "x", messageids.Full) // its time is up, and the table is larger than this run's limit
		time.Sleep(40 * time.Second)
		if n := to.Len(); n != 0 {
			t.Errorf("found %d ids, wanted none", n)
		}
	})
}

func TestATableOfAnotherFormIsRefused(t *testing.T) {
	for name, numbers := range map[string][]uint64{
		"many generations": {1 << 20},
		"too old":          {1, 1 << 40, 0},
		"no end":           {1, 0, 1 << 40, 1, 2},
	} {
		b := make([]byte, 16)
		for _, n := range numbers {
			b = binary.AppendUvarint(b, n)
		}
		if messageids.New[string](-1).Read(bytes.NewReader(b), 0) == nil {
			t.Errorf("%s: found no error", name)
		}
	}
	if messageids.New[string](-1).Read(bytes.NewReader(make([]byte, 7)), 0) == nil {
		t.Error("found no error for half a salt")
	}
}

// BenchmarkPublish is what an id that is new costs a publish, by several publishers at once.
func BenchmarkPublish(b *testing.B) {
	t := messageids.New[string](-1)
	var n atomic.Uint64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		p := messageids.Publish{User: "ann", Topic: "orders.eu.42", Payload: make([]byte, 128)}
		id := []byte("01J9ZK3V7Q8M2N4P5R6S00000000000000000000")
		for pb.Next() {
			p.ID = string(strconv.AppendUint(id[:20], n.Add(1), 16))
			key, _, _ := t.Begin(&p, time.Now(), "")
			t.Answered(key, messageids.Place{Seq: 7})
		}
	})
}

// keep is begin of what a store knows by its names.
func keep(t *table, id, payload string) (uint64, messageids.Outcome) {
	key, _, outcome := t.Keep(&messageids.Publish{User: "ann", ID: id, Topic: "kept", Payload: []byte(payload)}, time.Now(), "")
	return key, outcome
}

// PUB-7: an id that a store knows is taken, and what is refused frees it.
func TestWhatAStoreKnowsIsTaken(t *testing.T) {
	table := messageids.New[string](-1)
	key, outcome := keep(table, "m", "x")
	if outcome != messageids.First || key == 0 {
		t.Fatalf("found outcome %d and key %d", outcome, key)
	}
	if key, outcome := keep(table, "m", "y"); outcome != messageids.First || key != 0 {
		t.Errorf("found outcome %d and key %d, wanted it left to the store", outcome, key)
	}
	wantOutcome(t, table, "m", "x", messageids.Differs)
	table.Appended(key, messageids.Place{Seq: 1})
	table.Refused(key, true)
	wantOutcome(t, table, "m", "x", messageids.Differs)
	table.Refused(key, false)
	first(t, table, "m")
	if _, outcome := keep(table, "m", "x"); outcome != messageids.Differs {
		t.Errorf("found outcome %d of what the broker knows", outcome)
	}
	if n := table.Len(); n != 1 {
		t.Errorf("found %d ids, wanted 1", n)
	}
}

// What a store knows takes the room that is left, and no id is refused because of it.
func TestWhatAStoreKnowsMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := messageids.New[string](3)
		for i := range 5 {
			if key, outcome := keep(table, fmt.Sprint("kept", i), "x"); outcome != messageids.First || (key != 0) != (i < 3) {
				t.Errorf("found outcome %d and key %d of the store's %d", outcome, key, i)
			}
		}
		first(t, table, "m1")
		first(t, table, "kept0") // which is forgotten, for there was no room
		first(t, table, "m3")
		wantOutcome(t, table, "m4", "x", messageids.Full)
		if key, outcome := keep(table, "kept5", "x"); outcome != messageids.First || key != 0 {
			t.Errorf("found outcome %d and key %d in a full table", outcome, key)
		}
		time.Sleep(3 * time.Minute)
		if key, _ := keep(table, "kept5", "x"); key == 0 {
			t.Error("found no room three minutes later")
		}
		time.Sleep(time.Minute)
		wantOutcome(t, table, "kept5", "x", messageids.Differs)
		time.Sleep(2 * time.Minute)
		first(t, table, "kept5")
	})
}
