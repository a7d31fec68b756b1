package broker

import (
	"strconv"
	"testing"
	"time"
)

// A publish with a message id allocates nothing for it but the table.
func TestAMessageIDAllocatesNothing(t *testing.T) {
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	defer b.Close()
	perPublish := func(ids func() string) float64 {
		r := PublishRequest{Topic: "a.b", Payload: make([]byte, 128)}
		return testing.AllocsPerRun(2000, func() {
			r.MessageID = ids()
			if _, _, err := b.publish(Everybody(), &r, time.Now(), reply{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	ids := make([]string, 3000)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	next := func() string {
		id := ids[0]
		ids = ids[1:]
		return id
	}
	for range 100 { // the first ones grow what is kept
		if is := b.messageIDs.begin("", &PublishRequest{MessageID: next()}, false, time.Now(), reply{}); is.over {
			t.Fatal(is.err)
		}
	}
	without, with := perPublish(func() string { return "" }), perPublish(next)
	t.Logf("%v allocations without an id, %v with one", without, with)
	if with > without {
		t.Errorf("found %v allocations for a publish with an id, %v without", with, without)
	}
}
