package archive

import (
	"context"

	"github.com/carillon-mq/carillon/broker/store"
	"github.com/carillon-mq/carillon/protocol"
)

// Selection is what is asked of a history.
type Selection struct {
	Query store.HistoryQuery
	Limit int  // messages, at most
	Most  int  // bytes of them, but for the first, at most
	Last  bool // Limit messages are all that there are
}

// Found is the answer to a Selection.
type Found struct {
	Messages []protocol.Message // in increasing order of offsets, without seq
	Through  uint64             // the next page begins behind it
	Lost     uint64             // nothing above it has been given up
	Damaged  bool               // a record up to Through cannot be read
	More     bool               // more is kept behind it
}

// Gather gathers a page of messages from as many of the store's as it takes.
func (a *Archive) Gather(ctx context.Context, sel Selection) (Found, error) {
	g := gathering{Selection: sel}
	err := g.read(ctx, a)
	return g.Found, err
}

type gathering struct {
	Selection
	Found
	bytes int
	now   int64 // by Ring.Now
}

func (g *gathering) read(ctx context.Context, a *Archive) error {
	if g.Query.Through == 0 {
		return nil
	}
	if err := a.takeSlot(ctx); err != nil {
		return err
	}
	defer func() { <-a.slots }()
	for {
		q := g.Query
		q.Limit = max(g.Limit-len(g.Messages), 1)
		found, err := a.store.ReadHistory(ctx, q)
		if err != nil {
			return err
		}
		g.Lost = max(g.Lost, found.TrimmedThrough, found.Floor)
		g.now = a.ring.Now()
		all, full := g.take(&found), len(g.Messages) >= g.Limit
		g.Damaged = g.Damaged || len(found.Damaged) > 0 && found.Damaged[0] <= g.Through
		switch {
		case all && full && g.Last:
			g.Through = g.Query.Through
			return nil
		case !all || full || found.Done:
			g.More = !all || !found.Done
			return nil
		}
		g.Query.After, g.Query.Last = found.Through, 0
	}
}

// take takes what fits of a page of the store's, and reports whether that is all of it.
func (g *gathering) take(found *store.HistoryPage) (all bool) {
	for i := range found.Records {
		r := &found.Records[i]
		if r.Expires != 0 && r.Expires <= g.now {
			g.Through = r.Offset
			continue
		}
		size := len(r.Topic) + len(r.Payload) + len(r.ContentType) + 64
		for k, v := range r.Headers {
			size += len(k) + len(v)
		}
		if g.bytes > 0 && g.bytes+size > g.Most {
			return false
		}
		g.Messages = append(g.Messages, protocol.Message{
			Offset: r.Offset, Topic: r.Topic, Payload: r.Payload, Time: r.Time, ContentType: r.ContentType, Headers: r.Headers, Retain: r.Retain,
		})
		g.bytes += size
		g.Through = r.Offset
	}
	g.Through = found.Through
	return true
}
