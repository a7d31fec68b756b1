package brokertest

import (
	"context"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// Follow implements broker.Store.
func (s *Store) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	s.mu.Lock()
	s.follows = append(s.follows, from)
	cuts, start := s.cuts, s.state.Head
	s.mu.Unlock()
	after, caughtUp := min(from.After, start), false
	for {
		s.mu.Lock()
		changed := s.changed
		var feed broker.Feed
		switch {
		case s.away || s.cuts != cuts:
			s.mu.Unlock()
			return ErrAway
		case after < s.state.floor:
			s.mu.Unlock()
			return broker.ErrTrimmed
		case after >= start && !caughtUp:
			caughtUp = true
			feed = broker.Feed{CaughtUp: true, Term: s.state.Term, Head: start}
		case after < s.state.Head:
			feed.Records = s.pageLocked(after, from.Origin)
			after = s.state.Head
		}
		s.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return err
		}
		if feed.CaughtUp || len(feed.Records) > 0 {
			if err := on(feed); err != nil {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pageLocked is what was committed after an offset; of origin's own records only the names.
func (s *Store) pageLocked(after uint64, origin protocol.RunID) []broker.Record {
	var page []broker.Record
	for _, r := range s.state.log {
		switch {
		case r.Offset <= after:
		case !origin.IsZero() && r.Origin == origin:
			page = append(page, broker.Record{Offset: r.Offset, Origin: r.Origin, Ref: r.Ref, Elided: true})
		default:
			page = append(page, r)
		}
	}
	return page
}
