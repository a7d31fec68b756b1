package broker

import (
	"context"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/commit"
	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// How many bytes a content type may have ([PUB-5]), and a message id ([PUB-7]).
const (
	maxContentType = 255
	maxMessageID   = 64
)

// PublishRequest is one publish as a door hands it over.
type PublishRequest struct {
	Topic       string
	Payload     []byte // copied
	ContentType string // "" is msgpack
	Headers     map[string]string
	Retain      bool // with an empty payload: clear the retained value
	Receivers   bool // ask how many live subscriptions it was handed to
	// MessageID makes a repetition safe: within two minutes the same publish of the same user with it is answered with the places
	// of the first, and not applied (log.md U2). "": it has none.
	MessageID string
	// Exclude is an origin whose sessions are not sent it, at most protocol.MaxOrigin bytes; "": none ([PUB-14]). Another one than Origin, that
	// of the session that publishes, needs the right to.
	Exclude, Origin string
	Session         string // that publishes, by its id; "": none
	// TTL is for how long from now it is worth something, in whole milliseconds, at most protocol.MaxTTL of them; 0: it does not end ([PUB-13]).
	TTL time.Duration
}

// publication is a publish on its way: checked, encoded, waiting for its place in the log.
type publication struct {
	commit.Publication
	accepted   time.Time
	b          *Broker
	reply      reply
	messageKey uint64 // in messageIDs; 0: it has no id, or is not there
}

// Placed notes the place of p, whose answer comes later.
func (p *publication) Placed() { p.b.messageIDs.appended(p) }

// Withdrawn takes the id of p out: it was not appended and never will be.
func (p *publication) Withdrawn() { p.b.messageIDs.withdraw(p) }

// Acknowledge answers p, which was appended or comes too late, unless its receipt brings the answer.
func (p *publication) Acknowledge() {
	switch {
	case p.Seq == 0:
		p.Answer(protocol.Published{}, commit.ErrSealed)
	case !p.awaitsReceipt():
		p.Answer(p.published(), nil)
	}
}

// Answered tells whoever has published p, and those who have repeated it.
func (p *publication) Answered(ack protocol.Published, err *protocol.Error) {
	if err != nil {
		p.b.messageIDs.refused(p.messageKey, err)
	} else {
		p.b.messageIDs.answered(p.messageKey, ack)
	}
	p.reply.tell(ack, err)
}

// Publish publishes for id and waits for the acknowledgement, which tells the truth: Durability committed means that the
// store has it for good (log.md U1). The error is a *protocol.Error, which the caller reports with Refused if somebody is told. After store_unavailable with a publish that was
// already handed to the store, and when ctx ends first, the outcome is unknown.
func (b *Broker) Publish(ctx context.Context, id *Identity, r PublishRequest) (protocol.Published, error) {
	if err := b.Revoked(id); err != nil { // the door has read a body since it knew who this is
		return protocol.Published{}, err
	}
	later := make(waiter, 1)
	ack, answered, err := b.publish(id, &r, time.Now(), reply{to: later})
	if err != nil {
		return protocol.Published{}, err
	}
	if answered {
		return ack, nil
	}
	select {
	case a := <-later:
		if a.err != nil {
			return protocol.Published{}, a.err
		}
		return a.ack, nil
	case <-ctx.Done():
		return protocol.Published{}, protocol.Errorf(protocol.CodeTimeout, "the publish was not acknowledged in time; its outcome is unknown")
	}
}

// waiter waits for the answer of one publish.
type waiter chan answer

type answer struct {
	ack protocol.Published
	err *protocol.Error
}

func (w waiter) reply(_ uint64, ack protocol.Published, err *protocol.Error) { w <- answer{ack, err} }

// publish checks r, which came now, encodes it and appends it, or has the store commit it first. Either it is answered at once, or to is
// told once, later and from any goroutine.
func (b *Broker) publish(id *Identity, r *PublishRequest, now time.Time, to reply) (ack protocol.Published, answered bool, err *protocol.Error) {
	if err := b.checkPublish(id, r); err != nil {
		return ack, false, err
	}
	class := b.rules.ClassOf(r.Topic)
	keep := b.committer != nil && (r.Retain || class == ClassStored)
	if err := b.checkTTL(r, keep); err != nil {
		return ack, false, err
	}
	var key uint64
	if r.MessageID != "" {
		is := b.messageIDs.begin(id.User, r, keep && b.committer.Keyed(), now, to)
		if is.over {
			return is.ack, is.answered, is.err
		}
		key = is.key
	}
	m := protocol.Message{
		Topic: r.Topic, Payload: r.Payload, Time: now.UnixMilli(), ContentType: r.ContentType, Headers: r.Headers, Retain: r.Retain,
	}
	if !keep && !r.Receivers && (b.committer == nil || b.committer.Pending() == 0) {
		return b.appendNow(&m, class, r, now, key)
	}
	p := &publication{accepted: now, reply: to, b: b, messageKey: key}
	p.Message, p.Publisher = newMessageOf(&m, class), p
	p.Extra = r.extra(b.expires(r, now))
	if r.Receivers {
		addReceipt(b, p)
	}
	if keep {
		p.Record = b.newRecord(id.User, r, m.Time)
		p.Record.Expires = b.expires(r, now)
	}
	if b.committer == nil {
		b.append(&p.Message)
		return p.atOnce()
	}
	if appended, err := b.committer.Submit(&p.Publication); err != nil || !appended {
		if err != nil {
			b.messageIDs.refused(p.messageKey, err)
		}
		return ack, false, err
	}
	return p.atOnce()
}

// appendNow appends what waits for nothing: most messages go this way. key is that of its message id, or 0.
func (b *Broker) appendNow(m *protocol.Message, class Class, r *PublishRequest, accepted time.Time, key uint64) (ack protocol.Published, answered bool, err *protocol.Error) {
	msg := newMessageOf(m, class)
	msg.Extra = r.extra(b.expires(r, accepted))
	b.append(&msg)
	if msg.Seq == 0 {
		b.messageIDs.refused(key, commit.ErrSealed)
		return ack, false, commit.ErrSealed
	}
	b.stats.publishTime.observe(time.Since(accepted))
	ack = acknowledgement(&msg)
	if b.messageIDs.answered(key, ack) > 0 {
		b.flushSoon()
	}
	return ack, true, nil
}

// acknowledgement is that of a message in the log.
func acknowledgement(m *ring.Message) protocol.Published {
	ack := protocol.Published{Seq: m.Seq, Offset: m.Offset, Receivers: -1}
	if m.Live {
		ack.Seq = 0
	}
	return ack
}

// newRecord is r as the store is to commit it.
func (b *Broker) newRecord(user string, r *PublishRequest, time int64) *Record {
	record := Record{
		Topic: r.Topic, Retain: r.Retain, Payload: slices.Clone(r.Payload), ContentType: r.ContentType,
		Headers: r.Headers, Time: time, User: user, Exclude: r.Exclude,
	}
	if r.MessageID == "" {
		return &record
	}
	k := &keyedRecord{Record: record}
	k.name(user, r)
	return &k.Record
}

// atOnce is the answer to a publish that was appended without waiting, unless its receipt brings it.
func (p *publication) atOnce() (ack protocol.Published, answered bool, err *protocol.Error) {
	if p.Seq == 0 {
		p.b.messageIDs.refused(p.messageKey, commit.ErrSealed)
		return ack, false, commit.ErrSealed
	}
	if p.awaitsReceipt() {
		p.b.messageIDs.appended(p)
		return ack, false, nil
	}
	ack = p.published()
	if p.b.messageIDs.answered(p.messageKey, ack) > 0 {
		p.b.flushSoon()
	}
	return ack, true, nil
}

// newMessageOf encodes m, of the given class.
func newMessageOf(m *protocol.Message, class Class) ring.Message {
	out := ring.NewMessage(m)
	out.Live, out.Kept = class == ClassLive, class == ClassStored
	return out
}

func classOf(m *ring.Message) Class {
	switch {
	case m.Live:
		return ClassLive
	case m.Kept:
		return ClassStored
	}
	return ClassMemory
}

// append gives m its place in the log and wakes the shards that may have a subscription for it. m.seq stays 0 when the log has been
// ended.
func (b *Broker) append(m *ring.Message) {
	e, appended := b.ring.Append(m)
	b.show(m, e, appended)
}

// show wakes the shards that may have a subscription for m, which has become the entry e, nil for none. appended is how many bytes have
// ever been.
func (b *Broker) show(m *ring.Message, e *ring.Entry, appended uint64) {
	if e == nil {
		return
	}
	b.stats.published[classOf(m)].Add(1)
	receipt := e.Receipt()
	if receipt != nil {
		receipt.Appended()
	}
	for _, sh := range b.shards {
		behind := appended - sh.passedBytes.Load()
		if receipt != nil || sh.interest.In(e.Topic) || behind > uint64(b.opt.RingBytes/16) {
			sh.nudge()
		}
	}
}

// published is the acknowledgement of an appended publish.
func (p *publication) published() protocol.Published {
	p.b.stats.publishTime.observe(time.Since(p.accepted))
	ack := acknowledgement(&p.Message)
	if p.Record != nil {
		p.b.stats.commitTime.observe(time.Since(p.accepted))
		ack.Durability = protocol.Committed
	}
	return ack
}

// handlePublish publishes for the session. The acknowledgement comes when the message is where it has to be.
func (s *Session) handlePublish(raw protocol.Raw) error {
	p := protocol.Publish{Topic: s.topic}
	if err := p.Decode(raw); err != nil {
		return s.answerOr(raw, err)
	}
	s.topic = p.Topic
	if err := s.begin(p.ID); err != nil {
		return s.answerOr(raw, err)
	}
	var ack protocol.Published
	answered := true
	now := time.Now()
	err := s.allowPublish(now, len(p.Payload))
	if err == nil {
		r := PublishRequest{
			Topic: p.Topic, Payload: p.Payload, ContentType: p.ContentType, Headers: p.Headers, Retain: p.Retain, Receivers: p.Receivers,
			MessageID: p.MessageID, Exclude: p.Exclude, Origin: s.origin, Session: s.id, TTL: time.Duration(p.TTL) * time.Millisecond,
		}
		ack, answered, err = s.b.publish(s.identity, &r, now, reply{s, p.ID})
	}
	if err == nil && !answered {
		return nil
	}
	s.done(p.ID)
	switch {
	case err != nil:
		if why := s.b.revoked(s.identity); why != nil { // while it was decided
			return why
		}
		return s.refuse(p.ID, err)
	case p.ID != 0:
		ack.ID = p.ID
		a := s.answers()
		a.took(ack.Append(a.bytes))
		s.flushFull()
	}
	return nil
}

// allowPublish counts the publish in, if the session's rates allow it.
func (s *Session) allowPublish(now time.Time, size int) *protocol.Error {
	perSecond, burst := s.publishRate()
	if !allow(&s.publishes, now, perSecond, burst, 1) {
		return protocol.Errorf(protocol.CodeRateLimited, "found more than %d publishes a second", perSecond).WithRetryAfter(time.Second)
	}
	bytes, most := s.publishBytes()
	if !allow(&s.bytes, now, bytes, most, min(size, most)) { // what is beyond any payload is told so, and not to come again later
		return protocol.Errorf(protocol.CodeRateLimited, "found more than %d payload bytes a second", bytes).WithRetryAfter(time.Second)
	}
	return nil
}

func (s *Session) publishRate() (perSecond, burst int) {
	perSecond = or(s.identity.Limits.PublishRate, s.b.opt.Limits.PublishRate)
	return perSecond, max(s.b.opt.Limits.PublishBurst, perSecond)
}

func (s *Session) publishBytes() (perSecond, burst int) {
	perSecond = or(s.identity.Limits.PublishBytes, s.b.opt.Limits.PublishBytes)
	return perSecond, max(perSecond, s.b.opt.Limits.Payload)
}
