package archive

import (
	"slices"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/broker/store"
)

// What a reader is sent of a page leaves the page as it is: others read it too ([PUB-13], [PUB-14], [SUB-10]).
func TestAPageIsSharedByItsReaders(t *testing.T) {
	r := ring.New(1<<20, ring.NewRetained(-1, -1))
	found := store.HistoryPage{After: 2, Through: 9, Done: true, Records: []store.Record{
		{Offset: 3, Topic: "a", Exclude: "tab-1"}, {Offset: 4, Topic: "b"}, {Offset: 5, Topic: "a", Expires: 1}, {Offset: 6, Topic: "b"}, {Offset: 7, Topic: "a"},
	}}
	p := newPage(&found)
	for origin, want := range map[string][]uint64{"tab-1": {4, 6, 7}, "tab-2": {3, 4, 6, 7}, "": {3, 4, 6, 7}} {
		if due := p.Due(origin, r); !slices.Equal(due.Offsets, want) || len(due.Packets) != len(want) || len(due.Topics) != len(want) {
			t.Errorf("%q: found %v due, wanted %v", origin, due.Offsets, want)
		}
	}
	newest := p.Due("", r).Conflated()
	if !slices.Equal(newest.Offsets, []uint64{6, 7}) || newest.Conflated() != newest {
		t.Errorf("found %v as the newest", newest.Offsets)
	}
	if len(p.Packets) != 5 || p.Through != 9 {
		t.Errorf("found the page changed: %d messages through %d", len(p.Packets), p.Through)
	}
	if rest := newest.Split(1); newest.Through != 6 || rest.After != 6 || rest.Through != 9 || !slices.Equal(rest.Offsets, []uint64{7}) || rest.Split(1) != nil {
		t.Errorf("found %+v and %+v", newest, rest)
	}
}

// A page ends where it is full, and says so; its first message always fits.
func TestAPageIsBounded(t *testing.T) {
	big := []byte(strings.Repeat("x", PageBytes))
	found := store.HistoryPage{Through: 5, Done: true, Records: []store.Record{{Offset: 1, Topic: "a", Payload: big}, {Offset: 2, Topic: "a"}}}
	if p := newPage(&found); len(p.Packets) != 1 || p.Through != 1 {
		t.Errorf("found %d messages through %d, wanted 1", len(p.Packets), p.Through)
	}
}
