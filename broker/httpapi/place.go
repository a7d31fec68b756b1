package httpapi

import (
	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// place is how far a client is. It gives the messages that come from the store their cursors: they have none of their own, because it
// is where the reader was in the log, and only the offset moves ([POS-7]).
type place struct {
	b    Broker
	term protocol.RunID    // the store's when the session began
	at   protocol.Position // told last
	owed bool              // retained messages follow a gap: until they have been sent nothing is told
}

func newPlace(b Broker) place { return place{b: b, term: b.Position().Term} }

// told takes a position that the broker tells.
func (p *place) told(at protocol.Position) { p.at, p.owed = at, false }

// gap takes a gap, which retained messages follow if they are wanted.
func (p *place) gap(g *protocol.Gap, noRetained bool) {
	p.owed = p.owed || !noRetained && g.Reason != protocol.GapLive
	if !p.owed {
		p.at = g.To
	}
}

// behind is the position behind a message without a cursor. It is zero if there is none: of a message of class live, while retained
// messages are owed, and when the store was opened again meanwhile, so that nobody knows of which term the offset is.
func (p *place) behind(packet *broker.Packet) (at protocol.Position, fromStore bool) {
	b := packet.Bytes() // head, type, seq, offset: each one byte if it is 0
	if b[2] != 0 || b[3] == 0 {
		return at, false
	}
	m, ok := decode(packet).(*protocol.Message)
	if !ok || p.owed || p.term.IsZero() || p.term != p.b.Position().Term {
		return at, true
	}
	p.at.Term, p.at.Offset = p.term, m.Offset
	return p.at, true
}
