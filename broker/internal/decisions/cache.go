// Package decisions remembers what was decided about the rights of one client, each answer for its time to live.
package decisions

import (
	"sync"
	"time"
)

// Most is how many answers a cache holds.
const Most = 1024

// Key is a question.
type Key struct {
	Action uint8
	Filter string
}

// Answer is what was decided, and until when it holds.
type Answer struct {
	Allowed bool
	Reason  string // of a denial
	Asked   bool   // for a subscription, which lasts: it is given up last
	Renew   time.Time
	Until   time.Time
}

// Cache holds answers, at most Most. When there are more, denials go first, then what is not of subscriptions, then what ends soonest. Its
// methods may be called concurrently; a nil one is empty.
type Cache struct {
	mu  sync.Mutex
	all map[Key]Answer
}

// Get is the answer to k that holds now.
func (c *Cache) Get(k Key, now time.Time) (Answer, bool) {
	if c == nil {
		return Answer{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a, known := c.all[k]
	if !known || !now.Before(a.Until) {
		return Answer{}, false
	}
	return a, true
}

// Put remembers an answer.
func (c *Cache) Put(k Key, a Answer, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[Key]Answer{}
	}
	if _, known := c.all[k]; !known && len(c.all) >= Most {
		c.makeRoomLocked(now)
	}
	c.all[k] = a
}

func (c *Cache) makeRoomLocked(now time.Time) {
	var worst Key
	var of Answer
	first := true
	for k, a := range c.all {
		if !now.Before(a.Until) {
			delete(c.all, k)
			continue
		}
		if first || goesBefore(a, of) {
			worst, of, first = k, a, false
		}
	}
	if len(c.all) >= Most {
		delete(c.all, worst)
	}
}

func goesBefore(a, b Answer) bool {
	if a.Allowed != b.Allowed {
		return !a.Allowed
	}
	if a.Asked != b.Asked {
		return !a.Asked
	}
	return a.Until.Before(b.Until)
}

// Size is how many answers are held.
func (c *Cache) Size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}
