package broker

import "github.com/carillon-mq/carillon/protocol"

// asked is one subscription of a Subscribes: one that its shard starts, or a refusal to be told in its place.
type asked struct {
	sub     *subscription
	from    start
	refusal *Packet
}

// handleSubscribes takes many subscriptions as if each had been asked for by itself ([SUB-14]). Who is refused is told in its place among
// the answers, so these go to the shard, too.
func (s *Session) handleSubscribes(raw protocol.Raw) error {
	var p protocol.Subscribes
	if err := p.Decode(raw); err != nil {
		return s.answerOr(raw, err)
	}
	s.undecided = s.askAll(p.Subscriptions)
	all := make([]asked, 0, len(p.Subscriptions))
	var flood error
	for i := range p.Subscriptions {
		sub, from, err := s.enter(&p.Subscriptions[i])
		if err == nil {
			all = append(all, asked{sub: sub, from: from})
			continue
		}
		if flood = s.flooding(err); flood != nil {
			break
		}
		s.b.refused(s, err)
		all = append(all, asked{refusal: encode(err.Packet(p.Subscriptions[i].ID))})
	}
	s.shard.post(func() { s.shard.subscribeAll(s, all) })
	return flood
}

// askAll has decided at once what the subscriptions need that the rate of subscribes lets through.
func (s *Session) askAll(all []protocol.Subscribe) *protocol.Error {
	if s.identity.Ask == 0 {
		return nil
	}
	_, room := s.subscribeRate()
	if s.subscribes != nil {
		room = int(s.subscribes.Tokens())
	}
	var wanted []right
	for i := range all[:min(max(room, 0), len(all))] {
		if protocol.ValidateFilter(all[i].Filter) == nil {
			wanted = append(wanted, s.wants(&all[i])...)
		}
	}
	s.flushAcks() // the decision may take a while
	return s.b.ask(s.identity, s.id, wanted...)
}

// subscribeAll starts the subscriptions of one packet, all of them between the same two entries, and answers them together. Called by
// the shard's goroutine.
func (sh *shard) subscribeAll(s *Session, all []asked) {
	defer sh.watchRights(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	batch, bytes := make([]*Packet, 0, len(all)), 0
	for i := range all {
		from := len(batch)
		if a := &all[i]; a.refusal != nil {
			batch = append(batch, a.refusal)
		} else {
			batch = sh.begin(a.sub, a.from, batch)
		}
		for _, p := range batch[min(from, len(batch)):] {
			bytes += len(p.Bytes())
		}
		if bytes > drainBytes || i == len(all)-1 {
			if len(batch) > 0 {
				s.sendLocked(batch...)
			}
			batch, bytes = batch[:0], 0
		}
	}
}
