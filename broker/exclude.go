package broker

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// A message may exclude the sessions of one origin ([PUB-14], log.md R7). The origin is kept with its entry and with its record, and
// every reader of the log passes over what excludes it: shards, readers behind the end, and readers of the store. That is no gap.
// Retained messages and histories are the same for everybody.

// checkExclude checks the origin that r excludes, and the right to.
func (r *PublishRequest) checkExclude(id *Identity) *protocol.Error {
	if r.Exclude == "" {
		return nil
	}
	if err := checkOrigin(r.Exclude); err != nil {
		return err
	}
	if r.Exclude != r.Origin && !id.CanExclude(r.Topic) {
		return protocol.Errorf(protocol.CodeForbidden, "no grant of %s covers excluding another origin from %q", id.name(), r.Topic).
			WithHint("A session may exclude the origin that its own Connect named; another one needs the right to exclude.")
	}
	return nil
}

func checkOrigin(origin string) *protocol.Error {
	if len(origin) > protocol.MaxOrigin || !utf8.ValidString(origin) {
		return protocol.Errorf(protocol.CodeBadArgs, "found an origin of %d bytes, wanted UTF-8 of 1 to %d", len(origin), protocol.MaxOrigin)
	}
	return nil
}

// extra is what the log keeps of r, which expires at the given time, beside the message.
func (r *PublishRequest) extra(expires int64) *ring.Extra {
	if r.Exclude == "" && expires == 0 {
		return nil
	}
	if r.Exclude == r.Origin { // which is there as long as its session, and most exclude their own
		return &ring.Extra{Exclude: r.Origin, Expires: expires}
	}
	return &ring.Extra{Exclude: r.Exclude, Expires: expires}
}

func (r *Record) extra() *ring.Extra {
	if r.Exclude == "" && r.Expires == 0 {
		return nil
	}
	return &ring.Extra{Exclude: r.Exclude, Expires: r.Expires}
}

// excludes notes that the newest message of p, which will have at most so many, excludes origin.
func (p *page) excludes(origin string, most int) {
	if origin == "" {
		return
	}
	if p.exclude == nil {
		p.exclude = make([]string, most)
	}
	p.exclude[len(p.packets)-1] = origin
}

// due is what a session of origin is sent of p: neither what excludes it nor what has expired. Others read the same page: it does not change.
func (b *Broker) due(p *page, origin string) *page {
	excludes := func(i int) bool { return origin != "" && p.exclude != nil && p.exclude[i] == origin }
	if p == nil || (origin == "" || !slices.Contains(p.exclude, origin)) && !slices.ContainsFunc(p.packets, b.ring.PacketExpired) {
		return p
	}
	out := *p
	out.packets, out.topics, out.offsets, out.exclude = nil, nil, nil, nil
	for i, packet := range p.packets {
		if !excludes(i) && !b.ring.PacketExpired(packet) {
			out.packets = append(out.packets, packet)
			out.topics = append(out.topics, p.topics[i])
			out.offsets = append(out.offsets, p.offsets[i])
		}
	}
	return &out
}

// newestRounds bounds how often newest looks further back.
const newestRounds = 32

// newest finds where the newest q.Last records of q begin that a session of origin is sent: they come after the offset returned, which
// is q.Through when there are none. Where very many are excluded it gives up early, and there are fewer.
func (a *archive) newest(ctx context.Context, q HistoryQuery, origin string) (after, head uint64, err error) {
	if err := a.takeSlot(ctx); err != nil {
		return 0, 0, err
	}
	defer func() { <-a.slots }()
	after = q.Through
	for range newestRounds {
		begin, excluded, err := a.countExcluded(ctx, q, origin, &head)
		if err != nil {
			return 0, 0, err
		}
		after = begin
		if excluded == 0 || after == 0 {
			break
		}
		q.Through, q.Last = after, excluded
	}
	return after, head, nil
}

// countExcluded reads the newest q.Last records of q, which begin behind the offset returned, and counts those that exclude origin.
func (a *archive) countExcluded(ctx context.Context, q HistoryQuery, origin string, head *uint64) (after uint64, excluded int, err error) {
	if q.Limit = 0; origin == "" {
		q.Limit = 1 // where they begin is enough
	}
	for first := true; ; first = false {
		found, err := a.store.ReadHistory(ctx, q)
		if err != nil {
			return 0, 0, err
		}
		if first {
			after, *head = found.After, max(*head, found.Head)
			if len(found.Records) == 0 && found.Done {
				return q.Through, 0, nil
			}
		}
		for i := range found.Records {
			if origin != "" && found.Records[i].Exclude == origin {
				excluded++
			}
		}
		if found.Done || origin == "" {
			return after, excluded, nil
		}
		q.After, q.Last = found.Through, 0
	}
}
