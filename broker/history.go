package broker

import (
	"context"
	"slices"

	"github.com/carillon-mq/carillon/broker/internal/archive"
	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// HistoryRequest asks for a page of what the store keeps of stored topics.
type HistoryRequest struct {
	Filter string
	After  *protocol.Position // the page begins behind it; nil: with the oldest message that is kept
	Limit  int                // messages, at most; 0 is protocol.DefaultHistory
	Last   int                // if not 0: the newest so many instead, or the first of these and More
}

// HistoryResult is a page of history.
type HistoryResult struct {
	Messages []protocol.Message // in increasing order of offsets, without seq
	After    protocol.Position  // where to go on
	More     bool               // more is kept behind it
	Gap      protocol.GapReason // why messages behind the request's After, or among those asked for, are missing; empty: none are
}

// historyBytes bounds a page of History, but for its first message.
const historyBytes = 1 << 20

// History reads a page of what the store keeps, for id. It waits for the store until ctx ends, at most for Limits.StoreTimeout. The error
// is a *protocol.Error, which the caller reports with Refused if somebody is told: forbidden without the right to history, unsupported
// when nothing that the filter matches is stored, store_unavailable.
func (b *Broker) History(ctx context.Context, id *Identity, r HistoryRequest) (HistoryResult, error) {
	page, err := b.history(ctx, id, r, historyBytes)
	if err != nil {
		return HistoryResult{}, err
	}
	return page, nil
}

func (b *Broker) history(ctx context.Context, id *Identity, r HistoryRequest, most int) (page HistoryResult, refusal *protocol.Error) {
	if refusal := b.mayReadHistory(id, r.Filter); refusal != nil {
		return page, refusal
	}
	if r.Limit <= 0 {
		r.Limit = protocol.DefaultHistory
	}
	q := HistoryQuery{Filters: []string{r.Filter}}
	_, q.Through = b.ring.Tip() // what is behind it nobody has been shown yet
	if r.After != nil {
		common, known := b.archive.Common(*r.After, b.Position().Term)
		if !known || common < r.After.Offset {
			page.Gap = protocol.GapAhead
		}
		q.After = common
	}
	if r.Last > 0 {
		r.Limit, q.After, q.Last = min(r.Last, MaxHistoryRecords), 0, min(r.Last, MaxHistoryRecords)
	}
	ctx, cancel := context.WithTimeout(ctx, b.opt.Limits.StoreTimeout)
	defer cancel()
	found, err := b.archive.Gather(ctx, archive.Selection{Query: q, Limit: r.Limit, Most: most, Last: r.Last > 0})
	if err != nil {
		if _, ok := b.stats.mayLog(); ok {
			b.opt.Logger.Warn("a history could not be read", "err", err)
		}
		return page, errStoreAway
	}
	if r.After != nil && found.Lost > q.After || found.Damaged {
		page.Gap = protocol.GapTrimmed
	}
	page.Messages, page.More = found.Messages, found.More
	page.After = b.positionAt(0, found.Through)
	page.After.Epoch = protocol.RunID{}
	return page, nil
}

var errStoreAway = protocol.Errorf(protocol.CodeStoreUnavailable, "the store could not be read").WithHint("Try again in a moment.").WithRetryAfter(pastRetry)

// mayReadHistory checks the right of id to the history of filter, and that there can be one.
func (b *Broker) mayReadHistory(id *Identity, filter string) *protocol.Error {
	if err := asError(protocol.ValidateFilter(filter)); err != nil {
		return err
	}
	if err := b.ask(id, "", historyRight(filter)); err != nil {
		return err
	}
	if !id.CanReadHistory(filter) {
		return id.uncovered("reading the history of", filter, "")
	}
	if b.archive == nil || !b.rules.MayBeStored(filter) {
		return protocol.Errorf(protocol.CodeUnsupported, "no topic that %q matches is stored", filter).
			WithHint("Give the topics a rule of class stored in the configuration of the broker.")
	}
	if err := b.retainedReady(); err != nil {
		return err
	}
	if !b.archive.Serves(filter) {
		return protocol.Errorf(protocol.CodeUnsupported, "the store plugin keeps no history")
	}
	if !b.committer.Up() {
		return errStoreAway
	}
	return nil
}

// historyPacketBytes bounds the answer to one History packet.
const historyPacketBytes = 128 << 10

// historyQuery is a History that waits for its turn.
type historyQuery struct {
	id uint64
	HistoryRequest
}

// handleHistory reads a page while the session goes on: one at a time, and the next only when the client has taken most of it.
func (s *Session) handleHistory(raw protocol.Raw) error {
	var p protocol.History
	if err := p.Decode(raw); err != nil {
		return s.answerOr(raw, err)
	}
	if err := s.allowSubscribe(); err != nil {
		return s.refuse(p.ID, err)
	}
	if err := s.begin(p.ID); err != nil {
		return s.answerOr(raw, err)
	}
	r := HistoryRequest{Filter: p.Filter, Limit: int(p.Limit), Last: int(p.Last)}
	if p.After != nil {
		after, err := protocol.ParsePosition(p.After)
		if err != nil {
			s.done(p.ID)
			s.answer(p.ID, asError(err))
			return nil
		}
		r.After = &after
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if s.histories = append(s.histories, historyQuery{p.ID, r}); len(s.histories) == 1 {
		s.b.drainers.Go(s.readHistories)
	}
	return nil
}

// readHistories answers what waits in s.histories, whose first one is being read.
func (s *Session) readHistories() {
	for more := true; more; {
		if s.awaitRoom() != nil {
			return
		}
		s.mu.Lock()
		q, identity := s.histories[0], s.identity
		s.mu.Unlock()
		s.readHistory(identity, q.id, q.HistoryRequest)
		s.mu.Lock()
		s.histories = slices.Delete(s.histories, 0, 1)
		more = len(s.histories) > 0
		s.mu.Unlock()
	}
}

func (s *Session) readHistory(identity *Identity, id uint64, r HistoryRequest) {
	page, refusal := s.b.history(s.b.ctx, identity, r, historyPacketBytes)
	s.done(id)
	if refusal != nil {
		s.b.refused(s, refusal)
		s.send(encode(refusal.Packet(id)))
		return
	}
	var packets []*Packet
	if n := len(page.Messages); n > 0 {
		packets = append(packets, encode(&protocol.Replay{Subscription: id, Count: uint64(n), Kind: protocol.ReplayHistory}))
	}
	for i := range page.Messages {
		packets = append(packets, encode(&page.Messages[i]))
	}
	s.send(append(packets, encode(&protocol.Histories{ID: id, Position: page.After, More: page.More, Gap: page.Gap}))...)
}

// newestOf is where a subscription of a session of origin begins that asks for the newest n messages ([SUB-9]): in the log, or in the store when the log has
// not as many.
func (b *Broker) newestOf(id *Identity, origin, filter string, n int) (start, *protocol.Error) {
	if !id.CanReadHistory(filter) {
		return start{}, id.uncovered("reading the history of", filter, "")
	}
	complete, from := b.ring.CompleteFrom(), uint64(0)
	serves := b.archive.Serves(filter)
	if serves {
		from, _, _ = b.ring.Join(complete) // what is before has no place of its own, the store counts it
	}
	first, found := b.ring.Newest(&ring.Matcher{Wanted: []ring.Wanted{ring.NewWanted(filter, from)}, Origin: origin}, n)
	st := start{resume: true, next: first}
	if found >= n || complete == 0 || !serves {
		return st, nil
	}
	if !b.committer.Up() {
		return start{}, errStoreAway
	}
	p := b.pastOf([]string{filter}, protocol.Position{}, 0)
	ctx, cancel := context.WithTimeout(b.ctx, b.opt.Limits.StoreTimeout)
	defer cancel()
	after, head, err := b.archive.Newest(ctx, HistoryQuery{Filters: p.filters, Through: complete, Last: n - found}, origin)
	if err != nil {
		return start{}, errStoreAway
	}
	if after == complete {
		return st, nil
	}
	p.after, p.told = after, head
	st.past = p
	st.position = b.pastAt(p, p.after)
	return st, nil
}
