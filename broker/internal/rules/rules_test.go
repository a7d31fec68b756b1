package rules_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/rules"
	"github.com/carillon-mq/carillon/broker/store"
)

func rule(match string, class rules.Class) rules.Rule {
	return rules.Rule{Class: class, Keep: store.RetentionRule{Match: match}}
}

// The first rule that matches decides, but for topics of the broker's own ([REQ-3], [PRE-3]).
func TestTheFirstRuleThatMatchesDecides(t *testing.T) {
	list := rules.Rules{rule("a.live", rules.Live), rule("a.>", rules.Stored), rule("a.b", rules.Memory), rule("$inbox.>", rules.Stored)}
	list[1].Sync = time.Second
	for topic, want := range map[string]rules.Class{
		"a.live": rules.Live, "a.b": rules.Stored, "b": rules.Memory, "$inbox.s.1": rules.Live, "$presence.a.b": rules.Live, "$user.1.a": rules.Memory,
	} {
		if found := list.ClassOf(topic); found != want {
			t.Errorf("found %s of class %s, wanted %s", topic, found, want)
		}
	}
	if list.Sync("a.b") != time.Second || list.Sync("a.live") != 0 || list.Sync("b") != 0 {
		t.Error("found another rule's time to gather commits")
	}
	for filter, want := range map[string]struct{ stored, plain bool }{
		"a.*": {true, true}, "a.c": {true, false}, "a.c.>": {true, false}, ">": {true, true}, "b.>": {false, true}, "$inbox.s.>": {false, false},
	} {
		if stored, plain := list.MayBeStored(filter), list.MayBePlain(filter); stored != want.stored || plain != want.plain {
			t.Errorf("found %s stored %t and plain %t, wanted %+v", filter, stored, plain, want)
		}
	}
}

func TestTheStoreIsAskedByFewFilters(t *testing.T) {
	list := rules.Rules{rule("a.>", rules.Stored), rule("b.>", rules.Live), rule("a.>", rules.Stored)}
	if asked := list.Asked([]string{"b.1", "a.2", "a.1", "a.2"}); !slices.Equal(asked, []string{"a.1", "a.2"}) {
		t.Errorf("found it asked by %q", asked)
	}
	var many []string
	for i := range store.MaxHistoryFilters + 1 {
		many = append(many, fmt.Sprint("a.", i))
	}
	if asked := list.Asked(many); !slices.Equal(asked, []string{"a.>"}) {
		t.Errorf("found it asked by %d filters, wanted those of the rules", len(asked))
	}
	for _, topic := range many {
		list = append(list, rule(topic, rules.Stored))
	}
	if filters := list.StoredFilters(); !slices.Equal(filters, []string{">", "$user.>"}) {
		t.Errorf("found %d filters", len(filters))
	}
}
