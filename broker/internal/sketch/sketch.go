// Package sketch notes the beginnings of topics in a few bits each, so that a reader of the log passes over what has nothing for it.
package sketch

import "strings"

// Sketch says whether there may be a topic with given literal levels at its beginning. It may say yes wrongly. It is written by one
// goroutine, and read when nothing is written any more.
type Sketch []uint64

// Prefix is what a Sketch is asked for a filter: its levels before the first wildcard.
type Prefix struct {
	hash uint64
	none bool // there are none: every topic begins so
}

// New is a sketch for so many topics.
func New(topics int) Sketch {
	words := 1
	for words < topics/2 {
		words *= 2
	}
	return make(Sketch, words)
}

const (
	seed  = 14695981039346656037 // FNV-1a
	prime = 1099511628211
)

// Add notes topic and everything that it begins with, level by level.
func (s Sketch) Add(topic string) {
	h := uint64(seed)
	for i := range len(topic) {
		if topic[i] == '.' {
			s.set(h)
		}
		h = (h ^ uint64(topic[i])) * prime
	}
	s.set(h)
}

func (s Sketch) set(h uint64) {
	a, b := s.places(h)
	s[a>>6] |= 1 << (a & 63)
	s[b>>6] |= 1 << (b & 63)
}

// Has reports whether a topic may begin so.
func (s Sketch) Has(p Prefix) bool {
	if p.none {
		return true
	}
	a, b := s.places(p.hash)
	return s[a>>6]&(1<<(a&63)) != 0 && s[b>>6]&(1<<(b&63)) != 0
}

// Bytes is how many bytes it takes.
func (s Sketch) Bytes() int64 { return int64(len(s)) * 8 }

func (s Sketch) places(h uint64) (a, b uint64) {
	h ^= h >> 29
	h *= prime
	mask := uint64(len(s))<<6 - 1
	return (h >> 12) & mask, (h >> 40) & mask
}

// PrefixOf is what a sketch is asked for a valid filter.
func PrefixOf(filter string) Prefix {
	if i := strings.IndexAny(filter, "*>"); i >= 0 {
		if i == 0 {
			return Prefix{none: true}
		}
		filter = filter[:i-1]
	}
	h := uint64(seed)
	for i := range len(filter) {
		h = (h ^ uint64(filter[i])) * prime
	}
	return Prefix{hash: h}
}
