package broker

import (
	"context"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/commit"
	"github.com/carillon-mq/carillon/protocol"
)

// A message may have a lifetime ([PUB-13]). When it is over nobody is sent the message any more, which is no gap: every reader looks at
// the time right before it hands a message over, the log's, the store's, and those of the retained values alike. A retained value is then
// removed, by the store if there is one (log.md K4), else by clearExpired.

// checkTTL checks the lifetime of r, which is to be committed by the store if keep is set.
func (b *Broker) checkTTL(r *PublishRequest, keep bool) *protocol.Error {
	if r.TTL == 0 {
		return nil
	}
	if r.TTL < time.Millisecond || r.TTL > protocol.MaxTTL*time.Millisecond {
		return protocol.Errorf(protocol.CodeBadArgs, "found a ttl of %v, wanted 1 to %d ms", r.TTL, protocol.MaxTTL)
	}
	if !keep || b.committer.Ends() {
		return nil
	}
	if err := b.retainedReady(); err != nil {
		return err // nobody knows yet what the store can do
	}
	return commit.ErrNoTTL
}

// expires is when r, accepted at the given time, expires; 0: never.
func (b *Broker) expires(r *PublishRequest, accepted time.Time) int64 {
	if r.TTL == 0 {
		return 0
	}
	return b.ring.At(accepted) + r.TTL.Milliseconds()
}

// clearsAtOnce bounds how many expired topics are looked up at a time.
const clearsAtOnce = 256

// clearExpired removes retained values when they expire, until ctx ends. It is for a broker without a store: one timer serves all.
func (b *Broker) clearExpired(ctx context.Context) {
	timer := time.NewTimer(unlimitedTime)
	defer timer.Stop()
	for {
		wait := time.Duration(unlimitedTime)
		if next, ok := b.retained.NextEnd(); ok {
			wait = min(wait, time.Duration(max(next-b.ring.Now(), 0))*time.Millisecond)
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
			b.clearEnded(ctx)
		case <-b.retained.Sooner():
		case <-ctx.Done():
			return
		}
	}
}

func (b *Broker) clearEnded(ctx context.Context) {
	for ctx.Err() == nil {
		topics := b.retained.Ended(b.ring.Now(), clearsAtOnce)
		for _, topic := range topics {
			m := newMessageOf(&protocol.Message{Topic: topic, Time: time.Now().UnixMilli(), Retain: true}, b.rules.ClassOf(topic))
			e, appended := b.ring.AppendExpired(&m)
			b.show(&m, e, appended)
		}
		if len(topics) < clearsAtOnce {
			return
		}
	}
}

// unexpired is batch without the messages that have expired while it waited for the socket. A Replay packet tells of so many less.
func (b *Broker) unexpired(batch []*Packet) []*Packet {
	if !slices.ContainsFunc(batch, b.ring.PacketExpired) {
		return batch
	}
	out := batch[:0]
	var replay protocol.Replay // whose messages come
	at, left := 0, uint64(0)
	for _, p := range batch {
		switch {
		case p.Type() == protocol.TypeReplay:
			if raw, _, err := protocol.Next(p.Bytes()); err == nil && replay.Decode(raw) == nil {
				at, left = len(out), replay.Count
			}
		case p.Type() != protocol.TypeMessage:
		case b.ring.PacketExpired(p):
			if left > 0 {
				left--
				replay.Count--
				out[at] = encode(&replay)
			}
			continue
		case left > 0:
			left--
		}
		out = append(out, p)
	}
	clear(batch[len(out):])
	return slices.DeleteFunc(out, isEmptyReplay)
}

func isEmptyReplay(p *Packet) bool {
	if p.Type() != protocol.TypeReplay {
		return false
	}
	var replay protocol.Replay
	raw, _, err := protocol.Next(p.Bytes())
	return err == nil && replay.Decode(raw) == nil && replay.Count == 0
}
