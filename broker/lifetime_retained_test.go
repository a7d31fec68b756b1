package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// PUB-13, K4: without a store the broker removes a retained message at its end, and tells of it; a later one goes by its own end, or has none.
func TestARetainedMessageIsRemovedWhenItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{PingEvery: 24 * time.Hour})
		retainFor(t, b, time.Second, "a.short", "1")
		retainFor(t, b, 3*time.Second, "a.long", "2")
		retainFor(t, b, time.Second, "a.replaced", "3")
		retain(t, b, "a.replaced", "4")
		retain(t, b, "a.later", "5")
		retainFor(t, b, 2*time.Second, "a.later", "6")
		retainFor(t, b, time.Second, "a.cleared", "7")
		retain(t, b, "a.cleared", "")
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "a.*")
		for _, at := range []struct {
			after time.Duration
			want  []string
			kept  int
		}{
			{999 * time.Millisecond, nil, 4},
			{time.Millisecond, []string{`message 9 a.short ""`}, 3},
			{time.Second, []string{`message 10 a.later ""`}, 2},
			{time.Second, []string{`message 11 a.long ""`}, 1},
			{time.Hour, nil, 1},
		} {
			time.Sleep(at.after)
			lines := unpinged(c)
			if !slices.Equal(lines, at.want) || retainedTopics(b) != at.kept {
				t.Errorf("after %v: found %q and %d kept, wanted %q and %d", at.after, lines, retainedTopics(b), at.want, at.kept)
			}
		}
	})
}

// PUB-13, RET-1: from its end on a retained message is in no snapshot and no answer, though it has not been removed yet.
func TestAnExpiredRetainedMessageIsNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{})
		retainFor(t, b, time.Second, "a", "1")
		retain(t, b, "b", "2")
		show := func(want ...string) {
			t.Helper()
			for _, filter := range []string{"*", "a"} {
				c := brokertest.Dial(t, b, nil)
				c.Send(&protocol.Subscribe{ID: 1, Filter: filter})
				lines := slices.DeleteFunc(unpinged(c), notAMessage)
				if filter == "a" {
					want = slices.DeleteFunc(slices.Clone(want), func(l string) bool { return !strings.Contains(l, " a ") })
				}
				if !slices.Equal(lines, want) {
					t.Errorf("%s: found %q, wanted %q", filter, lines, want)
				}
			}
			if _, err := b.Retained(broker.Everybody(), "a"); (err == nil) != (len(want) > 0) || err != nil && code(err) != protocol.CodeNotFound {
				t.Errorf("found %v, shown are %q", err, want)
			}
		}
		show(`message 1/1 a "1"`, `message 2/2 b "2"`)
		b.Close()
		b = run(t, store, broker.Options{}) // which has loaded them
		show(`message 0/1 a "1"`, `message 0/2 b "2"`)
		store.GoAway() // it cannot remove anything now
		time.Sleep(time.Second)
		show(`message 0/2 b "2"`)
		if n := retainedTopics(b); n != 2 {
			t.Fatalf("found %d retained topics, wanted both", n)
		}
		store.ComeBack()
		time.Sleep(5 * time.Second)
		if n := retainedTopics(b); n != 1 {
			t.Errorf("found %d retained topics 5 s later, wanted 1", n)
		}
	})
}

// PUB-13, K4, A2: with a store its committed clear removes the message, in the order of the log, and a restart changes nothing of it.
func TestTheStoreRemovesARetainedMessageThatExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{})
		c := brokertest.Dial(t, b, nil)
		c.Subscribe(1, "*")
		retainFor(t, b, time.Second, "a", "1")
		retainFor(t, b, time.Second, "b", "2")
		retain(t, b, "b", "3")
		retainFor(t, b, time.Minute, "c", "4")
		time.Sleep(time.Second)
		wantLines(t, unpinged(c), `message 1/1 a "1"`, `message 2/2 b "2"`, `message 3/3 b "3"`, `message 4/4 c "4"`, `message 5/5 a ""`)
		b.Close()
		b = run(t, store, broker.Options{PingEvery: time.Hour})
		if n := retainedTopics(b); n != 2 {
			t.Fatalf("found %d retained topics, wanted 2", n)
		}
		c = brokertest.Dial(t, b, nil)
		c.Subscribe(1, "*")
		time.Sleep(time.Minute)
		wantLines(t, unpinged(c), `message 1/6 c ""`)
	})
}

// PUB-13: a planned restart carries the ends over, of retained messages that the log does not hold any more too. What expired meanwhile is removed.
func TestACarriedLogKnowsWhenItsMessagesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := broker.Options{RingBytes: 64 << 10}
		b := start(t, opt)
		retainFor(t, b, 10*time.Second, "old.a", "1")
		retainFor(t, b, 20*time.Second, "old.b", "2")
		for range 200 {
			publish(t, b, "x", kib(1))
		}
		at := b.Position()
		publishFor(t, b, 10*time.Second, "a", "203")
		publishFor(t, b, 20*time.Second, "a", "204")
		retainFor(t, b, 10*time.Second, "new.a", "205")
		retainFor(t, b, 20*time.Second, "new.b", "206")
		time.Sleep(5 * time.Second)
		log := logOf(t, b)
		time.Sleep(10 * time.Second)
		opt.Log = strings.NewReader(string(log))
		b = start(t, opt)
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">", Position: at.Append(nil)})
		lines := slices.DeleteFunc(unpinged(c), notAMessage)
		slices.Sort(lines[2:])
		for i := range lines[2:] {
			lines[2+i] = strings.Join(strings.Fields(lines[2+i])[2:], " ")
		}
		wantLines(t, lines, `message 204 a "204"`, `message 206 new.b "206"`, `new.a ""`, `old.a ""`)
		time.Sleep(5 * time.Second)
		lines = slices.DeleteFunc(unpinged(c), notAMessage)
		if len(lines) != 2 || retainedTopics(b) != 0 {
			t.Errorf("found %q and %d retained topics 20 s after they were published", lines, retainedTopics(b))
		}
	})
}

// PUB-13: a great many that expire at once are all removed, and who has replaced one before keeps its own.
func TestManyRetainedMessagesExpireAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		for i := range 2000 {
			retainFor(t, b, time.Second, fmt.Sprintf("a.%d", i), "1")
		}
		for i := range 10 {
			retainFor(t, b, time.Hour, fmt.Sprintf("a.%d", i), "2")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := retainedTopics(b); n != 10 {
			t.Errorf("found %d retained topics, wanted 10", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := b.Stats(); st.RetainedTopics != 0 || st.RetainedBytes != 0 {
			t.Errorf("found %d retained topics of %d bytes, wanted none", st.RetainedTopics, st.RetainedBytes)
		}
	})
}

// PUB-13: the broker looks up when a message comes that expires before all others.
func TestARetainedMessageThatExpiresSoonerIsRemovedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		for i := range 5 {
			retainFor(t, b, time.Duration(50-10*i)*time.Second, fmt.Sprint("a.", i), "1")
			synctest.Wait()
		}
		for left := 4; left >= 0; left-- {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if n := retainedTopics(b); n != left {
				t.Errorf("found %d retained topics, wanted %d", n, left)
			}
		}
	})
}
