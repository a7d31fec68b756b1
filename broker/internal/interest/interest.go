// Package interest says, without a lock, whether a shard may have a subscription that matches a topic.
package interest

import (
	"cmp"
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// Table counts filters. It may say wrongly that one of them matches a topic; when it says that none does, whoever has them may sleep. The zero
// value is empty. Its methods may be called concurrently.
type Table struct {
	wild   atomic.Int32 // filters that begin with a wildcard
	begun  atomic.Int32 // filters with a wildcard further back
	begins slots
	whole  slots // filters without one
}

// slots counts names by a hash of each.
type slots [1024]atomic.Int32

var seed = maphash.MakeSeed()

func (s *slots) of(name string) *atomic.Int32 {
	return &s[maphash.String(seed, name)%uint64(len(s))]
}

// Add counts filter in (n = 1) or out (n = -1).
func (in *Table) Add(filter string, n int32) {
	wildcard := strings.IndexAny(filter, "*>")
	switch {
	case wildcard < 0:
		in.whole.of(filter).Add(n)
	case wildcard == 0:
		in.wild.Add(n)
	default:
		in.begun.Add(n)
		first, second := beginnings(filter[:wildcard-1])
		in.begins.of(cmp.Or(second, first)).Add(n)
	}
}

// In reports whether any filter may match topic.
func (in *Table) In(topic string) bool {
	if in.wild.Load() > 0 || in.whole.of(topic).Load() > 0 {
		return true
	}
	if in.begun.Load() == 0 {
		return false
	}
	first, second := beginnings(topic)
	return in.begins.of(first).Load() > 0 || second != "" && in.begins.of(second).Load() > 0
}

// Len is about how many filters there are: 0 when there is none.
func (in *Table) Len() (n int) {
	n = int(in.wild.Load() + in.begun.Load())
	for i := range in.whole {
		n += int(in.whole[i].Load() + in.begins[i].Load())
	}
	return n
}

// beginnings are the first level of a name and its first two, "" if it has one.
func beginnings(name string) (first, second string) {
	i := strings.IndexByte(name, '.')
	if i < 0 {
		return name, ""
	}
	if j := strings.IndexByte(name[i+1:], '.'); j >= 0 {
		return name[:i], name[:i+1+j]
	}
	return name[:i], name
}
