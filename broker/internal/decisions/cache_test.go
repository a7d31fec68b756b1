package decisions

import (
	"fmt"
	"testing"
	"time"
)

var now = time.Unix(1_800_000_000, 0)

func until(d time.Duration, allowed, asked bool) Answer {
	return Answer{Allowed: allowed, Asked: asked, Until: now.Add(d)}
}

func TestAnAnswerIsForItsQuestionAndItsTime(t *testing.T) {
	c := &Cache{}
	k := Key{1, "a"}
	c.Put(k, until(time.Second, true, false), now)
	for _, other := range []Key{{2, "a"}, {1, "b"}, {1, ""}} {
		if a, known := c.Get(other, now); known || a.Allowed {
			t.Errorf("%v has an answer", other)
		}
	}
	if a, known := c.Get(k, now.Add(time.Second-1)); !known || !a.Allowed {
		t.Error("it does not hold for its time")
	}
	if a, known := c.Get(k, now.Add(time.Second)); known || a.Allowed {
		t.Error("it holds beyond its time")
	}
	if a, known := (*Cache)(nil).Get(k, now); known || a.Allowed {
		t.Error("a nil cache has an answer")
	}
}

func TestACacheIsBoundedAndKeepsWhatSubscriptionsLiveBy(t *testing.T) {
	c := &Cache{}
	for i := range 100 {
		c.Put(Key{2, fmt.Sprint("sub", i)}, until(time.Minute, true, true), now)
	}
	for i := range 3 * Most {
		c.Put(Key{1, fmt.Sprint("pub", i)}, until(time.Hour, true, false), now)
		c.Put(Key{2, fmt.Sprint("no", i)}, until(time.Hour, false, true), now)
	}
	if n := c.Size(); n != Most {
		t.Errorf("%d answers, wanted %d", n, Most)
	}
	for i := range 100 {
		if _, known := c.Get(Key{2, fmt.Sprint("sub", i)}, now); !known {
			t.Fatal("the answer of a subscription is gone")
		}
	}
}
