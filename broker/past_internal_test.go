package broker

import (
	"testing"

	"github.com/carillon-mq/carillon/broker/internal/archive"
	"github.com/carillon-mq/carillon/protocol"
)

// R4, GAP-1: what the store does not have any more is told together with the first of what it still has, however many pages without
// a message come before that. A client that is cut in between would go on behind the gap.
func TestAGapOfTheStoreIsToldWithWhatFollowsIt(t *testing.T) {
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	message := encode(&protocol.Message{Topic: "a", Offset: 4})
	read := func(p *past, pg *archive.Page) int {
		p.page = pg
		batch, _ := b.takePage(nil, 1, p)
		return len(batch)
	}
	p := &past{after: 1, told: 1}
	if n := read(p, &archive.Page{After: 1, Through: 3, Lost: 6}); n != 0 {
		t.Errorf("found %d packets with a page that has nothing, wanted none yet", n)
	}
	if n := read(p, &archive.Page{After: 3, Through: 4, Lost: 7, Packets: []*Packet{message}}); n != 1 || !p.again {
		t.Errorf("found %d packets with the first message, wanted the gap", n)
	}
	if n := read(p, &archive.Page{After: 4, Through: 9, Lost: 7}); n != 0 {
		t.Errorf("found %d packets behind it, wanted none", n)
	}
	p = &past{after: 1, told: 1}
	if n := read(p, &archive.Page{After: 1, Through: 3, Lost: 6}) + read(p, &archive.Page{After: 3, Through: 8, Lost: 6}); n != 1 {
		t.Errorf("found %d packets when nothing more can come, wanted the gap", n)
	}
}
