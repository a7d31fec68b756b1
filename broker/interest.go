package broker

import (
	"cmp"
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// interest says, without a lock, whether a shard may have a subscription that matches a topic. It may say yes wrongly; a no lets the
// shard sleep.
type interest struct {
	wild   atomic.Int32 // filters that begin with a wildcard
	begun  atomic.Int32 // filters with a wildcard further back
	begins interestSlots
	whole  interestSlots // filters without one
}

// interestSlots counts names by a hash of each.
type interestSlots [1024]atomic.Int32

var interestSeed = maphash.MakeSeed()

func (s *interestSlots) of(name string) *atomic.Int32 {
	return &s[maphash.String(interestSeed, name)%uint64(len(s))]
}

// add counts filter in (n = 1) or out (n = -1).
func (in *interest) add(filter string, n int32) {
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

func (in *interest) in(topic string) bool {
	if in.wild.Load() > 0 || in.whole.of(topic).Load() > 0 {
		return true
	}
	if in.begun.Load() == 0 {
		return false
	}
	first, second := beginnings(topic)
	return in.begins.of(first).Load() > 0 || second != "" && in.begins.of(second).Load() > 0
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
