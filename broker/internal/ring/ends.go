package ring

import (
	"unsafe"

	"github.com/tidwall/btree"
)

// end is when a retained value expires.
type end struct {
	expires int64
	topic   string
}

// RetainedEnd is what a value that expires is charged beside what others are.
const RetainedEnd = endOverhead + int64(unsafe.Sizeof(end{}))*2 // nodes may be filled by half

// KeepEnds has r know which value expires next, for who has to remove it. It is called before the first value comes.
func (r *Retained) KeepEnds() {
	less := func(a, b end) bool { return a.expires < b.expires || a.expires == b.expires && a.topic < b.topic }
	r.ends = btree.NewBTreeGOptions(less, btree.Options{NoLocks: true, Degree: 64})
}

// Sooner is sent to when a value expires before all others.
func (r *Retained) Sooner() <-chan struct{} { return r.sooner }

// NextEnd is when the next value expires, by Ring.Now; ok is false if none does.
func (r *Retained) NextEnd() (at int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, ok := r.ends.Min()
	return next.expires, ok
}

// Ended are the topics of at most so many values that have expired by now.
func (r *Retained) Ended(now int64, most int) (topics []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends.Scan(func(e end) bool {
		if e.expires > now || len(topics) == most {
			return false
		}
		topics = append(topics, e.topic)
		return true
	})
	return topics
}

// Expired reports whether v has expired by now, of Ring.Now.
func (v *Value) Expired(now int64) bool {
	expires := v.Packet.Expires()
	return expires != 0 && expires <= now
}

func (r *Retained) hasExpired(topic string, now int64) bool {
	v, held := r.Get(topic)
	return held && v.Expired(now)
}

func (r *Retained) endLocked(v *Value) {
	expires := v.Packet.Expires()
	if r.ends == nil || expires == 0 {
		return
	}
	r.ends.Set(end{expires, v.Topic})
	if first, _ := r.ends.Min(); first.topic == v.Topic {
		select {
		case r.sooner <- struct{}{}:
		default:
		}
	}
}

func (r *Retained) unendLocked(v *Value) {
	if expires := v.Packet.Expires(); r.ends != nil && expires != 0 {
		r.ends.Delete(end{expires, v.Topic})
	}
}
