package broker

import "strings"

// sketch says of the topics of a chunk which of their beginnings there are, a few bits for each: a reader passes over a chunk that has
// no topic with the literal levels of its filters. It may say yes wrongly. Written by the appender, read once the chunk is complete.
type sketch []uint64

// sketchWords is how many words the sketch of a chunk with so many entries has.
func sketchWords(slots int) int {
	words := 1
	for words < slots/2 {
		words *= 2
	}
	return words
}

const (
	sketchSeed  = 14695981039346656037 // FNV-1a
	sketchPrime = 1099511628211
)

// add notes topic and everything that it begins with, level by level.
func (s sketch) add(topic string) {
	h := uint64(sketchSeed)
	for i := range len(topic) {
		if topic[i] == '.' {
			s.set(h)
		}
		h = (h ^ uint64(topic[i])) * sketchPrime
	}
	s.set(h)
}

func (s sketch) set(h uint64) {
	a, b := s.places(h)
	s[a>>6] |= 1 << (a & 63)
	s[b>>6] |= 1 << (b & 63)
}

// has reports whether a topic may begin with the levels that h is of.
func (s sketch) has(h uint64) bool {
	a, b := s.places(h)
	return s[a>>6]&(1<<(a&63)) != 0 && s[b>>6]&(1<<(b&63)) != 0
}

func (s sketch) places(h uint64) (a, b uint64) {
	h ^= h >> 29
	h *= sketchPrime
	mask := uint64(len(s))<<6 - 1
	return (h >> 12) & mask, (h >> 40) & mask
}

// sketched is what a sketch is asked for a filter: the hash of its literal levels; any is true when it begins with a wildcard.
func sketched(filter string) (h uint64, any bool) {
	if i := strings.IndexAny(filter, "*>"); i >= 0 {
		if i == 0 {
			return 0, true
		}
		filter = filter[:i-1]
	}
	h = sketchSeed
	for i := range len(filter) {
		h = (h ^ uint64(filter[i])) * sketchPrime
	}
	return h, false
}
