package ring

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// A reader gathers, however little it takes at a time, exactly the entries from its place on that one of its filters matches from its seq on
// (log.md A5, A6), and so do those that look for the newest.
func TestReadersGatherWhatTheyWant(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	topic := func() string { return fmt.Sprintf("t%d.%d", chance.IntN(5), chance.IntN(60)) }
	for range 300 {
		r := New(int64(8<<10+chance.IntN(1<<20)), NewRetained(1, 1))
		for range chance.IntN(1500) {
			m := NewMessage(&protocol.Message{Topic: topic(), Payload: make([]byte, chance.IntN(60))})
			m.Live = chance.IntN(20) == 0
			r.Append(&m)
		}
		m := &Matcher{}
		for range 1 + chance.IntN(6) {
			filter := topic()
			if chance.IntN(4) == 0 {
				filter = []string{"*.7", "t1.>", "t3.*", ">"}[chance.IntN(4)]
			}
			m.Wanted = append(m.Wanted, NewWanted(filter, chance.Uint64N(r.Last()+2)))
		}
		oldest, _ := r.Oldest()
		first := oldest + chance.Uint64N(r.Last()-oldest+2)
		last := first + chance.Uint64N(r.Last()-first+2)
		want, missed := r.wantedByHand(m, first, last)
		var got []*Packet
		st := Stretch{Next: first}
		for st.Next <= last && st.Next <= r.Last() {
			if !r.Read(&st, m, last, 1+chance.IntN(4000)) {
				t.Fatalf("entry %d is held, from %d on", st.Next, oldest)
			}
			got, st.Packets, st.Bytes = append(got, st.Packets...), nil, 0
		}
		if !slices.Equal(got, want) || st.Missed != missed {
			t.Fatalf("found %d entries and %d released, wanted %d and %d", len(got), st.Missed, len(want), missed)
		}
		if n := chance.IntN(20) + 1; len(want) >= n && oldest == first && last >= r.Last() && missed == 0 {
			if _, found := r.Newest(m, n); found != n {
				t.Fatalf("found the newest %d, wanted %d", found, n)
			}
		}
	}
}

// wantedByHand looks at every entry.
func (r *Ring) wantedByHand(m *Matcher, first, last uint64) (wanted []*Packet, missed int64) {
	at, _ := r.Seek(first)
	for e := at.Next(); e != nil && e.Seq <= last; e = at.Next() {
		if !slices.ContainsFunc(m.Wanted, func(w Wanted) bool { return e.Seq >= w.since && protocol.Match(w.filter, e.Topic) }) {
			continue
		}
		if p := e.body.Load(); p != nil {
			wanted = append(wanted, p)
		} else {
			missed++
		}
	}
	return wanted, missed
}
