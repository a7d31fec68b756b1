package broker

import (
	"time"

	"github.com/carillon-mq/carillon/broker/internal/unread"
	"github.com/carillon-mq/carillon/protocol"
)

// A lagging session that the log has passed, or one that follows and comes from another run, reads the store like a subscription that
// resumes (past.go). Its messages are for all its live subscriptions and move the session's offset alone.

// liveFiltersLocked are the filters of the session's live subscriptions.
func (s *Session) liveFiltersLocked() (filters []string) {
	for _, sub := range s.subs {
		if sub.live {
			filters = append(filters, sub.filter)
		}
	}
	return filters
}

// wantsPast reports whether a live subscription is owed a message of the store. Session.mu is held.
func (s *Session) wantsPast(topic string, offset uint64) bool {
	for _, sub := range s.subs {
		if sub.live && sub.mark < offset && protocol.Match(sub.filter, topic) {
			return true
		}
	}
	return false
}

// readLagPast moves a session that is in the past. Session.mu is held.
func (s *Session) readLagPast(l *lag, batch []*Packet) []*Packet {
	p := l.past
	if p.reading || s.overtakenLocked(l) {
		return batch
	}
	p.page = p.page.Due(s.origin, s.b.ring)
	batch, pg := s.b.takePage(batch, 0, p)
	if pg != nil {
		for i, m := range pg.Packets {
			if s.wantsPast(pg.Topics[i], pg.Offsets[i]) {
				batch = append(batch, m)
				s.b.stats.delivered.Add(1)
			}
		}
		if len(pg.Packets) > 0 && !s.owesLocked(l) {
			at := s.b.pastAt(p, p.after)
			batch = append(batch, encode(&protocol.Ping{Position: &at}))
		}
	}
	if len(batch) > 0 {
		return batch
	}
	next, mark, ok := s.joinPast(p)
	for !ok {
		q := s.lagQueryLocked(p)
		if len(q.Filters) > 0 {
			s.fetchLocked(p, q)
			return batch
		}
		p.after = q.Through // nobody is owed anything of it
		next, mark, ok = s.joinPast(p)
	}
	if l.opening && next > l.joined {
		if before, held := s.b.ring.WatermarkBefore(l.joined); held { // what begins does so there, also if the store has nothing of that
			next, mark = l.joined, before
		}
	}
	return s.joinLagLocked(l, next, mark, batch)
}

// lagQueryLocked asks for what the session is owed behind p: by the filters that have begun there, up to where the next one begins.
func (s *Session) lagQueryLocked(p *past) HistoryQuery {
	through := s.b.ring.CompleteFrom()
	var filters []string
	for _, sub := range s.subs {
		switch {
		case !sub.live:
		case sub.mark <= p.after:
			filters = append(filters, sub.filter)
		default:
			through = min(through, sub.mark)
		}
	}
	return HistoryQuery{Filters: s.b.rules.Asked(filters), Through: through}
}

// overtakenLocked ends a session that follows and that the log has passed before it could tell where its filters begin: from where they
// do, its messages would come before that. The client comes back with the position it has.
func (s *Session) overtakenLocked(l *lag) bool {
	oldest, _ := s.b.ring.Oldest()
	if !l.opening || oldest <= l.joined {
		return false
	}
	for _, sub := range s.subs {
		if sub.live && sub.since >= l.joined {
			l.waiting = true
			s.shard.urge(func() {
				s.Disconnect(protocol.Errorf(protocol.CodeUnavailable, "the log has moved on before the stream could begin").WithRetryAfter(time.Second))
			})
			return true
		}
	}
	return false
}

// joinLagLocked makes the cursor one in the log again, and tells what was in the log alone and is missed.
func (s *Session) joinLagLocked(l *lag, next, mark uint64, batch []*Packet) []*Packet {
	p := l.past
	l.past, l.next, l.mark = nil, next, mark
	batch = s.b.tellOwed(batch, 0, p)
	from, to := s.b.pastAt(p, p.after), s.b.joint(p, next, mark)
	if first, held := s.b.ring.ChunkOf(next); held {
		l.missed.Add(l.lost(first, s.b.ring.Now()))
	}
	missed := l.missed
	l.missed = unread.Tally{}
	why := protocol.GapTrimmed
	if l.opening {
		why, missed = protocol.GapNotStored, unread.Tally{Unknown: p.plain}
	}
	missed.N -= missed.Stored
	if missed.Unknown || missed.N > 0 {
		return s.missedLocked(l, batch, why, from, to, missed.Count())
	}
	if p.again {
		s.resnapLocked(l, to)
	}
	if s.owesLocked(l) {
		return batch
	}
	return append(batch, encode(&protocol.Ping{Position: &to}))
}

// owesLocked reports whether the position of a session in the past is not to be told: retained messages have to come first.
func (s *Session) owesLocked(l *lag) bool {
	if l.past == nil {
		return l.owes()
	}
	if !l.past.again {
		return false
	}
	for _, sub := range s.subs {
		if sub.live && !sub.noRetained {
			return true
		}
	}
	return false
}
