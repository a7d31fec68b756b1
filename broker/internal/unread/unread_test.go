package unread

import (
	"testing"

	"github.com/carillon-mq/carillon/broker/internal/ring"
)

// R4: the count of a very large ring is given up before the bound of what a session holds, and told as unknown only where it is.
func TestTheCountsOfALaggingSessionAreBounded(t *testing.T) {
	filled := func() *Counts {
		l := new(Counts)
		for chunk := range uint64(2*maxCounts + 10) {
			for i := range uint64(3) {
				l.Count(&ring.Entry{Seq: 256*chunk + i + 1, Chunk: 256*chunk + 1})
			}
		}
		return l
	}
	if l := filled(); len(l.chunks) > maxCounts {
		t.Fatalf("found %d counts, the bound is %d", len(l.chunks), maxCounts)
	}
	if got := filled().Lost(256*100+1, 0).Count(); got != -1 {
		t.Errorf("found %d lost inside what was merged, wanted it unknown", got)
	}
	l := filled()
	merged := l.merged
	l.dropBefore(merged + 1) // read
	if got := l.Lost(merged+256*10+1, 0).Count(); got != 3*9 && got != 3*10 {
		t.Errorf("found %d lost behind what was merged, wanted it exact", got)
	}
	if got := l.Lost(1, 0).Count(); got != 0 {
		t.Errorf("found %d lost twice", got)
	}
}
