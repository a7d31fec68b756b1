package revoked

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

var (
	now = time.Unix(1_800_000_000, 0)
	why = protocol.Errorf(protocol.CodeRevoked, "gone")
)

func entry(before, until time.Duration) Entry {
	e := Entry{Until: now.Add(until), Why: why}
	if before != 0 {
		e.IssuedBefore = now.Add(before)
	}
	return e
}

func TestARevocationIsForItsSubjectAndItsTime(t *testing.T) {
	table := New(100)
	table.Put(User, "ann", entry(0, time.Hour), now)
	table.Put(User, "bob", entry(-time.Minute, time.Hour), now)
	table.Put(Token, "t1", entry(0, time.Hour), now)
	table.Put(Token, "over", entry(0, 0), now)
	for name, c := range map[string]struct {
		user, token string
		issued      time.Duration // after now
		at          time.Duration
		revoked     bool
	}{
		"the user":                         {"ann", "", time.Second, 0, true},
		"the user, whatever the token":     {"ann", "t9", time.Second, 0, true},
		"the user, when it is over":        {"ann", "", 0, time.Hour, false},
		"another user":                     {"eve", "", 0, 0, false},
		"nobody":                           {"", "", 0, 0, false},
		"a user like the token":            {"t1", "", 0, 0, false},
		"a token like the user":            {"", "ann", 0, 0, false},
		"the token":                        {"eve", "t1", time.Second, 0, true},
		"a token that was over":            {"", "over", 0, 0, false},
		"issued before":                    {"bob", "", -time.Minute - 1, 0, true},
		"issued at that time":              {"bob", "", -time.Minute, 0, false},
		"issued later":                     {"bob", "", 0, 0, false},
		"issued later, but with the token": {"bob", "t1", 0, 0, true},
	} {
		if got := table.Find(c.user, c.token, now.Add(c.issued), now.Add(c.at)); (got != nil) != c.revoked {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if table.Find("bob", "", time.Time{}, now) == nil {
		t.Error("what is not known to have been issued later is spared")
	}
	if n, _ := table.Size(); n != 3 {
		t.Errorf("%d entries, wanted 3", n)
	}
	table.Put(User, "eve", entry(0, 2*time.Hour), now.Add(time.Hour))
	if n, _ := table.Size(); n != 1 {
		t.Errorf("%d entries, wanted the one that is not over", n)
	}
}

func TestTheLaterEndAndTheLaterTimeHold(t *testing.T) {
	for name, c := range map[string]struct {
		first, second Entry
		before        time.Duration // 0: nothing is spared
		until         time.Duration
	}{
		"later":            {entry(-9, 10), entry(-5, 20), -5, 20},
		"earlier":          {entry(-5, 20), entry(-9, 10), -5, 20},
		"each its own":     {entry(-9, 20), entry(-5, 10), -5, 20},
		"first of all":     {entry(0, 10), entry(-5, 20), 0, 20},
		"of all at last":   {entry(-5, 20), entry(0, 10), 0, 20},
		"the same, again":  {entry(-5, 20), entry(-5, 20), -5, 20},
		"of all, and then": {entry(0, 20), entry(0, 10), 0, 20},
	} {
		table := New(100)
		table.Put(User, "u", c.first, now)
		table.Put(User, "u", c.second, now)
		if got := table.Find("u", "", now.Add(c.before-1), now.Add(c.until-1)); got == nil {
			t.Errorf("%s: not in force", name)
		}
		if got := table.Find("u", "", now.Add(c.before), now); (got == nil) != (c.before != 0) {
			t.Errorf("%s: what was issued then: %v", name, got)
		}
		if got := table.Find("u", "", now.Add(-100), now.Add(c.until)); got != nil {
			t.Errorf("%s: goes on after its end", name)
		}
	}
}

func TestTheTableIsBoundedAndGivesUpWhatEndsSoonest(t *testing.T) {
	table := New(10)
	for _, i := range rand.Perm(100) {
		table.Put(User, fmt.Sprint(i), entry(0, time.Duration(i+1)*time.Second), now)
	}
	if n, forgotten := table.Size(); n != 10 || forgotten != 90 {
		t.Errorf("%d entries and %d given up, wanted 10 and 90", n, forgotten)
	}
	for i := range 100 {
		if got := table.Find(fmt.Sprint(i), "", now, now); (got != nil) != (i >= 90) {
			t.Errorf("%d: %v", i, got)
		}
	}
}

func TestATableWithoutALimitForgetsNothing(t *testing.T) {
	table := New(-1)
	for i := range 1000 {
		table.Put(User, fmt.Sprint(i), entry(0, time.Hour), now)
	}
	if n, forgotten := table.Size(); n != 1000 || forgotten != 0 || table.Find("0", "", now, now) == nil {
		t.Errorf("%d entries and %d given up, wanted 1000 and none", n, forgotten)
	}
}

func TestASubjectRevokedOverAndOverTakesNoMoreRoom(t *testing.T) {
	table := New(10)
	for i := range 10_000 {
		table.Put(User, "u", entry(0, time.Duration(i+1)*time.Second), now)
	}
	if n, forgotten := table.Size(); n != 1 || forgotten != 0 || len(table.ends) > 100 {
		t.Errorf("%d entries, %d given up, %d ends", n, forgotten, len(table.ends))
	}
	if table.Find("u", "", now, now.Add(9999*time.Second)) == nil {
		t.Error("the last end does not hold")
	}
}

func TestLookingIntoAnEmptyTableTakesNothing(t *testing.T) {
	table := New(10)
	if n := testing.AllocsPerRun(100, func() { _ = table.Find("u", "t", now, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
