package carillon

import (
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// trial finds out how subscriptions go to the broker: many in one Subscribes ([SUB-13]), if it knows that packet. A broker that does not answers
// unknown_type or, since the packet has no id, nothing at all ([ENC-9]). So the first one of a connection has a Ping behind it: packets are
// handled in order, and when the Pong has come and none of the subscriptions is answered doubtFor later, they are asked for one by one.
// Guarded by Client.mu.
type trial struct {
	state   trialState
	subs    []*Subscription // those of the first packets
	doubtAt time.Time       // zero: not yet, or not any more
}

type trialState uint8

const (
	trialDue trialState = iota
	trialOn             // a Subscribes is on its way, the first one
	trialPassed
	trialFailed // to this broker: one Subscribe for each
)

// doubtFor is how long a broker may take from a Pong to its first answer to a Subscribes in front of the Ping. One that takes longer is
// asked again, which costs it work and loses nothing.
const doubtFor = 5 * time.Second

// together returns the subscriptions at the beginning of requests that go into one packet, which takes at most room bytes.
func (cn *connection) together(requests []request, room int) (subs []*Subscription) {
	const head = 8 // array, type, array, and the options' map
	if cn.trial.state == trialFailed {
		return nil
	}
	most := min(len(requests), cn.maxInflight-len(cn.inflight), protocol.MaxArray)
	room -= head + len((&protocol.Ping{}).Append(nil))
	for _, r := range requests[:max(most, 0)] {
		s, ok := r.(*Subscription)
		if !ok {
			break
		}
		if room -= len(s.subscribe(1 << 52).Append(nil)); room < 0 {
			break
		}
		subs = append(subs, s)
	}
	return subs
}

// appendManyLocked appends one Subscribes for all of subs.
func (c *Client) appendManyLocked(cn *connection, b []byte, subs []*Subscription) []byte {
	var p protocol.Subscribes
	for _, s := range subs {
		p.Subscriptions = append(p.Subscriptions, *s.subscribe(c.nextID + 1))
		c.sentLocked(cn, s)
	}
	b = p.Append(b)
	t := &cn.trial
	if t.state == trialPassed {
		return b
	}
	t.subs = append(t.subs, subs...)
	if t.state == trialDue {
		t.state = trialOn
		b = (&protocol.Ping{}).Append(b)
	}
	return b
}

// answered notes that the broker knows Subscribes, if r is one of those on trial.
func (t *trial) answered(r request) {
	if _, ok := r.(*Subscription); ok && t.state == trialOn {
		*t = trial{state: trialPassed}
	}
}

// pongLocked takes the answer to the Ping behind the first Subscribes.
func (c *Client) pongLocked(cn *connection) {
	if t := &cn.trial; t.state == trialOn && t.doubtAt.IsZero() {
		t.doubtAt = time.Now().Add(doubtFor)
		c.askLocked(cn)
	}
}

// doubtLocked asks one by one for what a Subscribes has asked for in vain, when it has been for long enough.
func (c *Client) doubtLocked(cn *connection) {
	if t := &cn.trial; t.state == trialOn && !t.doubtAt.IsZero() && time.Until(t.doubtAt) <= 0 {
		c.oneByOneLocked(cn)
	}
}

// notTogetherLocked takes a refusal of the packet type that tells which one by nothing, or by the id of a subscription on trial. It reports
// whether it was one.
func (c *Client) notTogetherLocked(cn *connection, p *protocol.ErrorPacket) bool {
	_, subscribing := cn.inflight[p.ID].(*Subscription)
	if p.Code != protocol.CodeUnknownType || cn.trial.state != trialOn || p.ID != 0 && !subscribing {
		return false
	}
	c.oneByOneLocked(cn)
	return true
}

// oneByOneLocked asks for the subscriptions on trial again, each in a packet of its own. What was asked for is taken back, in case that
// the broker was merely slow.
func (c *Client) oneByOneLocked(cn *connection) {
	subs := cn.trial.subs
	cn.trial = trial{state: trialFailed}
	for _, s := range subs {
		if s.phase != phaseAsked || cn.byID[s.id] != s {
			continue // closed meanwhile
		}
		delete(cn.inflight, s.id)
		c.leaveLocked(s)
	}
	c.askLocked(cn)
}
