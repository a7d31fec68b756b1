package broker

import (
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// wheel holds a shard's sessions by the tick at which each has to be looked at next. There is no timer a session.
type wheel struct {
	tick  time.Duration
	next  time.Time // when the next tick is due
	now   int
	slots [64][]*Session
}

// heart is a session's place in the wheel and the state of its heartbeat. The shard's.
type heart struct {
	slot     int
	index    int
	joined   bool
	welcomed bool
	ends     time.Time // when it has to have connected; then when its token has ended for good, zero: never
	pingAt   time.Time // when the next ping is due
	pinged   time.Time // when the last ping left, if no byte has followed; zero: none
	asks     bool      // its rights are an Authorizer's, in part
	renewing bool      // and are being asked for again
	rightsAt time.Time // when to look at them next; zero: there are none
}

func newWheel(every time.Duration) wheel {
	return wheel{tick: min(max(every/25, 5*time.Millisecond), time.Second)}
}

// put schedules s for a look in d; a longer time than the wheel has slots means an earlier look.
func (w *wheel) put(s *Session, d time.Duration) {
	ticks := min(max(int((d+w.tick-1)/w.tick), 1), len(w.slots)-1)
	h := &s.heart
	h.slot = (w.now + ticks) % len(w.slots)
	h.index, h.joined = len(w.slots[h.slot]), true
	w.slots[h.slot] = append(w.slots[h.slot], s)
}

func (w *wheel) remove(s *Session) {
	h := &s.heart
	if !h.joined {
		return
	}
	slot := w.slots[h.slot]
	last := len(slot) - 1
	slot[h.index] = slot[last]
	slot[h.index].heart.index = h.index
	slot[last] = nil
	w.slots[h.slot] = slot[:last]
	h.joined = false
}

// join takes a new session in: it has to connect in time.
func (sh *shard) join(s *Session) {
	s.heart.ends = time.Now().Add(sh.b.opt.Limits.ConnectTimeout)
	sh.wheel.put(s, sh.b.opt.Limits.ConnectTimeout)
}

// welcome starts the heartbeat of a session that has connected as id.
func (sh *shard) welcome(s *Session, id *Identity) {
	s.heart.welcomed = true
	s.heart.pingAt = time.Now().Add(s.pingEvery())
	sh.lasts(s, id)
}

// lasts has the session last as long as id.
func (sh *shard) lasts(s *Session, id *Identity) {
	s.heart.asks = id.Decisions != nil
	now := time.Now()
	s.heart.ends = endOf(id, sh.b.opt.ExpiryLeeway, now)
	sh.wheel.remove(s)
	sh.wheel.put(s, sh.untilLook(s, now))
}

// endOf is when a session of id ends, zero: never. It counts from now by the monotonic clock: who is connected stays so when the machine's
// time of day is set.
func endOf(id *Identity, leeway time.Duration, now time.Time) time.Time {
	if id.Expires.IsZero() {
		return time.Time{}
	}
	return now.Add(min(id.Expires.Sub(now), unlimitedTime) + leeway)
}

// pingEvery is how often the session is pinged.
func (s *Session) pingEvery() time.Duration {
	if s.info.PingEvery > 0 {
		return min(s.info.PingEvery, s.b.opt.PingEvery)
	}
	return s.b.opt.PingEvery
}

// leave takes a session out that has ended by err, with all its subscriptions.
func (sh *shard) leave(s *Session, err error) {
	sh.wheel.remove(s)
	sh.sessions.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := lostBy(err, s.cause)
	for _, sub := range s.subs {
		sh.forget(sub, lost)
	}
	s.subs = nil
	if s.lagging {
		s.lagging = false
		sh.b.stats.lagging.Add(-1)
	}
}

// beat turns the wheel as far as it is behind: a ticker leaves out what a busy shard does not take. Called by the shard's goroutine.
func (sh *shard) beat(now time.Time) {
	w := &sh.wheel
	if behind := now.Add(-time.Duration(len(w.slots)) * w.tick); w.next.Before(behind) {
		w.next = behind // once round is enough
	}
	for ; !w.next.After(now); w.next = w.next.Add(w.tick) {
		sh.turn(now)
	}
}

// turn looks at the sessions of the next tick.
func (sh *shard) turn(now time.Time) {
	w := &sh.wheel
	w.now = (w.now + 1) % len(w.slots)
	due := w.slots[w.now]
	w.slots[w.now] = nil
	for _, s := range due {
		s.heart.joined = false
	}
	for _, s := range due {
		if why := sh.look(s, now); why != nil {
			s.Disconnect(why)
			continue
		}
		w.put(s, sh.untilLook(s, now))
	}
	if w.slots[w.now] == nil {
		clear(due)
		w.slots[w.now] = due[:0]
	}
}

// untilLook is how long s may be left alone.
func (sh *shard) untilLook(s *Session, now time.Time) time.Duration {
	h := &s.heart
	if !h.welcomed {
		return h.ends.Sub(now)
	}
	d := h.pingAt.Sub(now)
	switch progress := s.conn.Progress(); {
	case s.waitsForSocket():
		d = min(d, progress.Add(sh.b.opt.Stalled).Sub(now), sh.b.opt.PongWait)
	case h.pinged.After(progress):
		d = min(d, h.pinged.Add(sh.b.opt.PongWait).Sub(now))
	case !h.pinged.IsZero():
		d = min(d, progress.Add(sh.b.opt.PongWait).Sub(now))
	}
	if !h.ends.IsZero() {
		d = min(d, h.ends.Sub(now))
	}
	if !h.rightsAt.IsZero() {
		d = min(d, h.rightsAt.Sub(now))
	}
	return d
}

// look checks that a session is alive and its token valid, and pings it when that is due. It returns why the session must end,
// or nil.
func (sh *shard) look(s *Session, now time.Time) *protocol.Error {
	h := &s.heart
	opt := &sh.b.opt
	if !h.welcomed {
		if !now.Before(h.ends) {
			return protocol.Errorf(protocol.CodeConnectTimeout, "no Connect came within %s", opt.Limits.ConnectTimeout)
		}
		return nil
	}
	if !h.ends.IsZero() && !now.Before(h.ends) {
		return protocol.Errorf(protocol.CodeTokenExpired, "the token has expired at %s", h.ends.Add(-opt.ExpiryLeeway).UTC().Format(time.RFC3339))
	}
	if why := sh.signs(s, now); why != nil {
		return why
	}
	if !h.rightsAt.IsZero() && !now.Before(h.rightsAt) {
		sh.checkRights(s, now)
	}
	if !now.Before(h.pingAt) {
		h.pingAt = now.Add(s.pingEvery())
		h.pinged = now
		sh.ping(s)
	}
	return nil
}

// signs looks for signs of life. Slow is not dead (log.md R3): while something waits for the socket only a long time without a
// single byte accepted ends the session; otherwise the client has PongWait from the ping, or from the last byte accepted.
func (sh *shard) signs(s *Session, now time.Time) *protocol.Error {
	h := &s.heart
	quiet := now.Sub(s.conn.Progress())
	if s.waitsForSocket() {
		if quiet >= sh.b.opt.Stalled {
			return protocol.Errorf(protocol.CodeStalled, "the connection has accepted nothing and sent nothing for %s", quiet.Round(time.Millisecond))
		}
		return nil
	}
	if h.pinged.IsZero() {
		return nil
	}
	if !s.conn.Received().Before(h.pinged) {
		h.pinged = time.Time{}
		return nil
	}
	if quiet >= sh.b.opt.PongWait && now.Sub(h.pinged) >= sh.b.opt.PongWait {
		return protocol.Errorf(protocol.CodeNoPong, "no answer to a ping for %s", now.Sub(h.pinged).Round(time.Millisecond))
	}
	return nil
}

func (s *Session) waitsForSocket() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// ping sends the session's position behind everything already due (log.md P5). A lagging session's drainer sends it.
func (sh *shard) ping(s *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lag != nil {
		s.pingDue = true
		s.drainLocked(0)
		return
	}
	at := sh.position()
	s.sendLocked(encode(&protocol.Ping{Position: &at}))
	sh.locateConflated(s)
}

// duePing is the ping of a lagging session: its position is the drainer's cursor.
func (s *Session) duePing(batch []*Packet) []*Packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pingDue || len(s.queue) > 0 {
		return batch
	}
	s.pingDue = false
	if s.lag == nil || s.lag.joined > 0 && s.lag.owes() {
		return append(batch, encode(&protocol.Ping{}))
	}
	at := s.b.positionAt(s.lag.next-1, s.lag.mark)
	if p := s.lag.past; p != nil {
		if s.owesLocked(s.lag) {
			return append(batch, encode(&protocol.Ping{}))
		}
		at = s.b.pastAt(p, p.after)
	}
	return append(batch, encode(&protocol.Ping{Position: &at}))
}
