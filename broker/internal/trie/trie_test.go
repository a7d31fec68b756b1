package trie_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/carillon-mq/carillon/broker/internal/trie"
	"github.com/carillon-mq/carillon/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// found are the values whose filter matches topic, in order.
func found(t *trie.Trie[int], topic string) []int {
	var values []int
	t.Match(topic, func(items []*trie.Item[int]) {
		for _, it := range items {
			values = append(values, it.Value)
		}
	})
	slices.Sort(values)
	return values
}

// TestEveryFilterAgainstEveryTopic is G11 in small: all filters and topics of up to four levels over a, b, $x and the wildcards.
func TestEveryFilterAgainstEveryTopic(t *testing.T) {
	topics, filters := []string(nil), []string(nil)
	for _, name := range combinations(4, "a", "b", "$x", "*", ">") {
		if protocol.ValidateFilter(name) == nil {
			filters = append(filters, name)
		}
		if protocol.ValidateTopic(name) == nil {
			topics = append(topics, name)
		}
	}
	var tr trie.Trie[int]
	items := make([]trie.Item[int], len(filters))
	for i, f := range filters {
		items[i].Value = i
		tr.Insert(f, &items[i])
	}
	for _, topic := range topics {
		var want []int
		for i, f := range filters {
			if protocol.Match(f, topic) {
				want = append(want, i)
			}
		}
		if got := found(&tr, topic); !slices.Equal(got, want) {
			t.Fatalf("%q: found %d filters, wanted %d", topic, len(got), len(want))
		}
	}
	t.Logf("%d filters, %d topics", len(filters), len(topics))
	for i := range items {
		tr.Remove(&items[i])
		tr.Remove(&items[i]) // once is enough
	}
	if tr.Len() != 0 || tr.Nodes() != 0 {
		t.Errorf("found %d values and %d levels when all are removed", tr.Len(), tr.Nodes())
	}
}

func combinations(depth int, levels ...string) []string {
	names := slices.Clone(levels)
	for last := names; depth > 1; depth-- {
		var longer []string
		for _, n := range last {
			for _, l := range levels {
				longer = append(longer, n+"."+l)
			}
		}
		names, last = append(names, longer...), longer
	}
	return names
}

// TestATrieIsAListOfFilters compares random inserts, removals and matches with a plain list.
func TestATrieIsAListOfFilters(t *testing.T) {
	level := rapid.SampledFrom([]string{"a", "b", "c", "$x", "é", "*"})
	rapid.Check(t, func(rt *rapid.T) {
		var tr trie.Trie[int]
		type held struct {
			filter string
			item   *trie.Item[int]
		}
		var list []held
		next := 0
		rt.Repeat(map[string]func(*rapid.T){
			"insert": func(rt *rapid.T) {
				filter := strings.Join(rapid.SliceOfN(level, 1, 5).Draw(rt, "levels"), ".")
				if rapid.Bool().Draw(rt, "rest") {
					filter += ".>"
				}
				next++
				h := held{filter, &trie.Item[int]{Value: next}}
				tr.Insert(filter, h.item)
				list = append(list, h)
			},
			"remove": func(rt *rapid.T) {
				if len(list) == 0 {
					return
				}
				i := rapid.IntRange(0, len(list)-1).Draw(rt, "index")
				tr.Remove(list[i].item)
				list = slices.Delete(list, i, i+1)
			},
			"match": func(rt *rapid.T) {
				topic := strings.ReplaceAll(strings.Join(rapid.SliceOfN(level, 1, 6).Draw(rt, "levels"), "."), "*", "d")
				var want []int
				for _, h := range list {
					if protocol.Match(h.filter, topic) {
						want = append(want, h.item.Value)
					}
				}
				slices.Sort(want)
				if got := found(&tr, topic); !slices.Equal(got, want) {
					rt.Fatalf("%q: found %v, wanted %v", topic, got, want)
				}
			},
			"": func(rt *rapid.T) {
				if tr.Len() != len(list) {
					rt.Fatalf("found %d values, wanted %d", tr.Len(), len(list))
				}
				if len(list) == 0 && tr.Nodes() != 0 {
					rt.Fatalf("found %d levels in an empty trie", tr.Nodes())
				}
			},
		})
	})
}

// An item may be put in again after it was removed; values of one filter come and go in any order.
func TestValuesOfOneFilterComeAndGo(t *testing.T) {
	var tr trie.Trie[int]
	items := make([]trie.Item[int], 100)
	for i := range items {
		items[i].Value = i
		tr.Insert("a.*", &items[i])
	}
	for _, i := range rand.Perm(100)[:50] {
		tr.Remove(&items[i])
		tr.Insert("a.>", &items[i])
	}
	if got := found(&tr, "a.b"); len(got) != 100 {
		t.Errorf("found %d values, wanted 100", len(got))
	}
	for _, i := range rand.Perm(100) {
		tr.Remove(&items[i])
	}
	if tr.Nodes() != 0 || len(found(&tr, "a.b")) != 0 {
		t.Errorf("found %d levels and %v in the end", tr.Nodes(), found(&tr, "a.b"))
	}
}

func FuzzMatch(f *testing.F) {
	for _, seed := range [][3]string{{"a.*", "a.b", ">"}, {"$sys.>", "$sys.load", "*.load"}, {"a.>", "a", "a"}, {"*.*.c", "a.b.c", "a.b.c"}, {"é.ü", "é.ü", "é.*"}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, one, topic, two string) {
		if protocol.ValidateFilter(one) != nil || protocol.ValidateFilter(two) != nil || protocol.ValidateTopic(topic) != nil {
			return
		}
		var tr trie.Trie[int]
		items := [2]trie.Item[int]{{Value: 1}, {Value: 2}}
		tr.Insert(one, &items[0])
		tr.Insert(two, &items[1])
		var want []int
		for i, filter := range []string{one, two} {
			if protocol.Match(filter, topic) {
				want = append(want, i+1)
			}
		}
		if got := found(&tr, topic); !slices.Equal(got, want) {
			t.Errorf("%q with %q and %q: found %v, wanted %v", topic, one, two, got, want)
		}
		tr.Remove(&items[0])
		tr.Remove(&items[1])
		if tr.Len() != 0 || tr.Nodes() != 0 {
			t.Errorf("found %d values and %d levels in the end", tr.Len(), tr.Nodes())
		}
	})
}

// mixed are filters as a large installation has them: most literal, some with wildcards.
func mixed(n int) []string {
	filters := make([]string, n)
	for i := range filters {
		switch i % 10 {
		case 0:
			filters[i] = fmt.Sprintf("tenant%d.*.%d", i%100, i)
		case 1:
			filters[i] = fmt.Sprintf("tenant%d.device%d.>", i%100, i)
		case 2:
			filters[i] = fmt.Sprintf("*.device%d.status", i)
		default:
			filters[i] = fmt.Sprintf("tenant%d.device%d.value.%d", i%100, i, i%7)
		}
	}
	return filters
}

// BenchmarkMatch is a match among 100,000 filters.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var tr trie.Trie[int]
			items := make([]trie.Item[int], n)
			for i, f := range mixed(n) {
				tr.Insert(f, &items[i])
			}
			topics := make([]string, 1024)
			for i := range topics {
				k := rand.IntN(n)
				topics[i] = fmt.Sprintf("tenant%d.device%d.value.%d", k%100, k, k%7)
			}
			matched := 0
			visit := func(items []*trie.Item[int]) { matched += len(items) }
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				tr.Match(topics[i%len(topics)], visit)
			}
			b.ReportMetric(float64(matched)/float64(b.N), "matches/op")
		})
	}
}

func BenchmarkInsertRemove(b *testing.B) {
	var tr trie.Trie[int]
	items := make([]trie.Item[int], 100_000)
	filters := mixed(len(items))
	for i, f := range filters {
		tr.Insert(f, &items[i])
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		k := i % len(items)
		tr.Remove(&items[k])
		tr.Insert(filters[k], &items[k])
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	var tr trie.Trie[int]
	items := make([]trie.Item[int], 1000)
	for i, f := range mixed(len(items)) {
		tr.Insert(f, &items[i])
	}
	matched := 0
	visit := func(items []*trie.Item[int]) { matched += len(items) }
	if n := testing.AllocsPerRun(100, func() { tr.Match("tenant3.device3.value.3", visit) }); n != 0 || matched == 0 {
		t.Errorf("found %v allocations, %d matches", n, matched)
	}
}

// TestDeepWildcardsCostWhatTheyAre is T24 of the bad inputs: 128 filters of 16 levels, with every mixture of wildcards, and topics that are followed
// down all of them. A walk enters a node once, so that what it takes is bounded by the nodes that filters have made, and by nothing that a topic says.
func TestDeepWildcardsCostWhatTheyAre(t *testing.T) {
	var tr trie.Trie[int]
	items := make([]trie.Item[int], 128)
	for id := range items {
		levels := strings.Split("d"+strings.Repeat(".*", 15), ".")
		for bit := range 7 {
			if id>>bit&1 == 1 {
				levels[2*bit+2] = "x"
			}
		}
		items[id].Value = id
		tr.Insert(strings.Join(levels, "."), &items[id])
	}
	if most := len(items) * 16; tr.Nodes() > most {
		t.Errorf("found %d nodes, wanted at most one for each level of each filter, %d", tr.Nodes(), most)
	}
	visits, matched := 0, 0
	visit := func(items []*trie.Item[int]) { visits, matched = visits+1, matched+len(items) }
	all, none := "d"+strings.Repeat(".x", 15), "d"+strings.Repeat(".x", 14)
	if n := testing.AllocsPerRun(10_000, func() { visits, matched = 0, 0; tr.Match(all, visit) }); n != 0 {
		t.Errorf("found %v allocations", n)
	}
	if visits != len(items) || matched != len(items) {
		t.Errorf("found %d filters in %d visits, wanted each of %d once", matched, visits, len(items))
	}
	if n := testing.AllocsPerRun(10_000, func() { visits = 0; tr.Match(none, visit) }); n != 0 || visits != 0 {
		t.Errorf("of a topic that ends too early: found %v allocations and %d visits", n, visits)
	}
}

// BenchmarkMemory is what a subscription takes.
func BenchmarkMemory(b *testing.B) {
	for name, filter := range map[string]func(int) string{
		"literal": func(i int) string { return fmt.Sprintf("user.%d", i) },
		"below":   func(i int) string { return fmt.Sprintf("user.%d.>", i) },
		"mixed":   nil,
	} {
		b.Run(name, func(b *testing.B) {
			const n = 200_000
			filters := mixed(n)
			for i := range filters {
				if filter != nil {
					filters[i] = filter(i)
				}
			}
			for b.Loop() {
				var tr trie.Trie[int]
				items := make([]trie.Item[int], n)
				before := heap()
				for i, f := range filters {
					tr.Insert(f, &items[i])
				}
				b.ReportMetric(float64(heap()-before)/n, "B/value")
				runtime.KeepAlive(&tr)
				runtime.KeepAlive(items)
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
