package archive

import (
	"slices"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/broker/internal/rules"
	"github.com/carillon-mq/carillon/broker/store"
	"github.com/carillon-mq/carillon/protocol"
)

// Page is a part of what the store keeps, as packets.
type Page struct {
	Packets []*ring.Packet
	Topics  []string // of each
	Offsets []uint64
	After   uint64 // it begins behind this offset
	Through uint64 // everything up to here is in it
	Lost    uint64 // what is missing is not above this offset

	exclude   []string // the origins that are excluded, by message; nil: none is
	conflated bool     // the newest of each topic alone
}

// newPage encodes as much of a history as a reader is given at once.
func newPage(h *store.HistoryPage) *Page {
	p := &Page{After: h.After, Through: h.Through, Lost: h.Lost()}
	bytes := 0
	for i := range h.Records {
		m := Message(&h.Records[i], rules.Stored)
		if bytes > 0 && bytes+len(m.Buf) > PageBytes {
			p.Through = p.Offsets[i-1]
			break
		}
		bytes += len(m.Buf)
		p.Packets = append(p.Packets, m.Unplaced())
		p.Topics = append(p.Topics, m.Topic)
		p.Offsets = append(p.Offsets, m.Offset)
		p.excludes(h.Records[i].Exclude, len(h.Records))
	}
	return p
}

// excludes notes that the newest message of p, which will have at most so many, excludes origin.
func (p *Page) excludes(origin string, most int) {
	if origin == "" {
		return
	}
	if p.exclude == nil {
		p.exclude = make([]string, most)
	}
	p.exclude[len(p.Packets)-1] = origin
}

// Due is what a session of origin is sent of p, which may be nil: neither what excludes it nor what has expired. Others read the same page: it does not change.
func (p *Page) Due(origin string, r *ring.Ring) *Page {
	excludes := func(i int) bool { return origin != "" && p.exclude != nil && p.exclude[i] == origin }
	if p == nil || (origin == "" || !slices.Contains(p.exclude, origin)) && !slices.ContainsFunc(p.Packets, r.PacketExpired) {
		return p
	}
	out := *p
	out.Packets, out.Topics, out.Offsets, out.exclude = nil, nil, nil, nil
	for i, packet := range p.Packets {
		if !excludes(i) && !r.PacketExpired(packet) {
			out.Packets = append(out.Packets, packet)
			out.Topics = append(out.Topics, p.Topics[i])
			out.Offsets = append(out.Offsets, p.Offsets[i])
		}
	}
	return &out
}

// Conflated is the page without what is not the newest of its topic.
func (p *Page) Conflated() *Page {
	if p.conflated {
		return p
	}
	out := *p
	out.Packets, out.Topics, out.Offsets, out.conflated = nil, nil, nil, true
	last := map[string]int{}
	for i, topic := range p.Topics {
		last[topic] = i
	}
	for i, topic := range p.Topics {
		if last[topic] == i {
			out.Packets = append(out.Packets, p.Packets[i])
			out.Topics = append(out.Topics, topic)
			out.Offsets = append(out.Offsets, p.Offsets[i])
		}
	}
	return &out
}

// Split cuts the page behind its first n messages and returns the rest; nil if there is none.
func (p *Page) Split(n int) *Page {
	if n >= len(p.Packets) {
		return nil
	}
	rest := *p
	rest.Packets, rest.Topics, rest.Offsets = p.Packets[n:], p.Topics[n:], p.Offsets[n:]
	p.Packets, p.Topics, p.Offsets = p.Packets[:n], p.Topics[:n], p.Offsets[:n]
	p.Through = p.Offsets[n-1]
	rest.After = p.Through
	return &rest
}

// Message is r, of a topic of the given class, on its way into the log.
func Message(r *store.Record, class rules.Class) ring.Message {
	m := ring.NewMessage(&protocol.Message{
		Topic: r.Topic, Payload: r.Payload, Time: r.Time, ContentType: r.ContentType, Headers: r.Headers, Retain: r.Retain,
	})
	m.Live, m.Kept = class == rules.Live, class == rules.Stored
	m.Offset = r.Offset
	if r.Exclude != "" || r.Expires != 0 {
		m.Extra = &ring.Extra{Exclude: r.Exclude, Expires: r.Expires}
	}
	return m
}
