package broker

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	"golang.org/x/time/rate"
)

// Stats is a snapshot of what the broker counts. Counters only grow within one run.
type Stats struct {
	Sessions      int64 // open now
	Subscriptions int64
	Lagging       int64         // sessions that read the log from their own cursor now
	LagEntries    int64         // entries of the log that the furthest of them has before it
	LagSpan       time.Duration // age of the entry that it is at, or of the oldest that is held
	DrainSessions int64         // sessions still open while the broker drains

	Published map[Class]uint64
	Delivered uint64
	Saved     uint64 // bytes of messages that were not sent because their payloads were compressed
	Gaps      map[protocol.GapReason]uint64
	Rejected  map[protocol.Code]uint64

	RingBytes      int64
	RingEntries    int64
	RingSpan       time.Duration // age of the oldest entry that is held
	RetainedTopics int64
	RetainedBytes  int64
	StoreWaitBytes int64 // publishes that wait for the store
	Members        int64 // of all topics, each user once in each ([PRE-2])
	MessageIDs     int64 // message ids that are known by now, but for those that the store knows
	StoreUp        bool  // the committed feed is live; true without a store
	// StoreBroken is whether the store has owed an answer, or been away, for longer than a publish may wait: until its next sign
	// of life what it would have to commit is refused at once.
	StoreBroken bool
	StoreFaults uint64 // answers of the store that broke its contract; nothing of them was delivered

	Revocations     int    // of users and tokens, in force
	RevocationsUp   bool   // the stream of revocations is open
	Revoked         uint64 // revocations received
	RevokedSessions uint64 // sessions that they have closed
	RevokedForgot   uint64 // revocations given up before their end, because there were too many

	PublishSeconds     Histogram // accepted → acknowledged
	StoreCommitSeconds Histogram // of those, handed to the store first
}

// Histogram is a distribution in seconds. Buckets maps an upper bound to the number of observations at or below it.
type Histogram struct {
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64
}

// Stats returns the present figures.
func (b *Broker) Stats() Stats {
	st := Stats{
		Sessions: int64(b.registry.sessions()), Subscriptions: b.registry.subscriptions.Load(), Lagging: b.stats.lagging.Load(),
		Published: map[Class]uint64{}, Delivered: b.stats.delivered.Load(), Saved: b.stats.saved.Load(), StoreUp: true,
		Gaps: map[protocol.GapReason]uint64{}, Rejected: map[protocol.Code]uint64{},
		PublishSeconds: b.stats.publishTime.snapshot(), StoreCommitSeconds: b.stats.commitTime.snapshot(),
	}
	for c := range b.stats.published {
		st.Published[Class(c)] = b.stats.published[c].Load()
	}
	b.stats.mu.Lock()
	maps.Copy(st.Gaps, b.stats.gaps)
	maps.Copy(st.Rejected, b.stats.rejected)
	b.stats.mu.Unlock()
	if b.draining.Load() {
		st.DrainSessions = st.Sessions
	}
	st.RingBytes, st.RingSpan = b.ring.Size()
	st.LagEntries, st.LagSpan = b.furthest()
	first, _ := b.ring.Oldest()
	st.RingEntries = int64(b.ring.Last() + 1 - first)
	topics, size := b.retained.Size()
	st.RetainedTopics, st.RetainedBytes = int64(topics), size
	st.MessageIDs = b.messageIDs.size()
	st.Revocations, st.RevokedForgot = b.revocations.table.Size()
	st.RevocationsUp, st.Revoked, st.RevokedSessions = b.revocations.up.Load(), b.revocations.received.Load(), b.revocations.closed.Load()
	_, members := b.members.table.Size()
	st.Members = int64(members)
	if c := b.committer; c != nil {
		st.StoreWaitBytes, st.StoreUp = c.Bytes(), c.Up()
		st.StoreBroken, st.StoreFaults = c.Broken(), c.Faults()+b.archive.Faults()
	}
	return st
}

// furthest is how far behind the session is that lags most.
func (b *Broker) furthest() (entries int64, span time.Duration) {
	if b.stats.lagging.Load() == 0 {
		return 0, 0
	}
	head := b.ring.Last()
	first := head + 1
	b.registry.each(func(s *Session) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.lag != nil {
			first = min(first, s.lag.next)
		}
	})
	if first > head {
		return 0, 0
	}
	return int64(head + 1 - first), b.ring.Age(first)
}

// counters is what the broker counts while it works.
type counters struct {
	published   [3]atomic.Uint64 // by class
	delivered   atomic.Uint64
	saved       atomic.Uint64
	lagging     atomic.Int64
	publishTime histogram
	commitTime  histogram

	mu       sync.Mutex
	gaps     map[protocol.GapReason]uint64
	rejected map[protocol.Code]uint64
	logLimit *rate.Limiter
	unlogged int
}

func (c *counters) gap(why protocol.GapReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gaps == nil {
		c.gaps = map[protocol.GapReason]uint64{}
	}
	c.gaps[why]++
}

func (c *counters) reject(code protocol.Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rejected == nil {
		c.rejected = map[protocol.Code]uint64{}
	}
	c.rejected[code]++
}

// refusalLogs is how many refusals are logged per second; the rest are counted.
const refusalLogs = 10

// mayLog takes one from the rate of logged refusals and returns how many were left out before it.
func (c *counters) mayLog() (leftOut int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logLimit == nil {
		c.logLimit = rate.NewLimiter(refusalLogs, 5*refusalLogs)
	}
	if !c.logLimit.Allow() {
		c.unlogged++
		return 0, false
	}
	leftOut, c.unlogged = c.unlogged, 0
	return leftOut, true
}

// Refusal is one answer or close with a code that a client was given.
type Refusal struct {
	Code                 protocol.Code
	Detail, Hint         string
	Transport, Remote    string
	User, Session, Topic string // "" when not known
}

// Refused counts and logs a refusal (Options.RefusalLevel, at most 10 a second). A door calls it for what it refuses itself;
// sessions and Publish count their own.
func (b *Broker) Refused(r Refusal) {
	b.stats.reject(r.Code)
	b.logRefusal(r)
}

func (b *Broker) logRefusal(r Refusal) {
	if !b.opt.Logger.Enabled(context.Background(), b.opt.RefusalLevel) {
		return
	}
	leftOut, ok := b.stats.mayLog()
	if !ok {
		return
	}
	attrs := []slog.Attr{slog.String("code", r.Code.String()), slog.String("reason", r.Detail)}
	for _, a := range [...]struct{ key, value string }{
		{"hint", r.Hint}, {"user", r.User}, {"session", r.Session}, {"topic", r.Topic}, {"remote", r.Remote}, {"transport", r.Transport},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if leftOut > 0 {
		attrs = append(attrs, slog.Int("count", leftOut))
	}
	b.opt.Logger.LogAttrs(context.Background(), b.opt.RefusalLevel, "refused", attrs...)
}

// refused counts and logs what a session is refused.
func (b *Broker) refused(s *Session, err *protocol.Error) {
	r := Refusal{
		Code: err.Code, Detail: err.Detail, Hint: err.Packet(0).Hint, Transport: s.info.Transport, Remote: s.info.Remote, Session: s.id,
	}
	s.mu.Lock()
	if id := s.identity; id != nil {
		r.User = id.User
	}
	s.mu.Unlock()
	if err.Code == protocol.CodeGoingAway {
		return // no fault of the client's
	}
	b.Refused(r)
}

// bounds are the upper bounds of the histograms' buckets, in seconds.
var bounds = [...]float64{0.00001, 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}

type histogram struct {
	counts [len(bounds) + 1]atomic.Uint64
	nanos  atomic.Int64
}

func (h *histogram) observe(d time.Duration) {
	s := d.Seconds()
	i := 0
	for i < len(bounds) && s > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.nanos.Add(int64(d))
}

func (h *histogram) snapshot() Histogram {
	out := Histogram{Buckets: make(map[float64]uint64, len(bounds)), Sum: time.Duration(h.nanos.Load()).Seconds()}
	for i := range h.counts {
		out.Count += h.counts[i].Load()
		if i < len(bounds) {
			out.Buckets[bounds[i]] = out.Count
		}
	}
	return out
}
