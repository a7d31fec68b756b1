package protocol

// PresenceChange is the payload of a message of the topic `$presence.<topic>`, as MessagePack ([PRE-3]).
type PresenceChange struct {
	Count  uint64   // members behind it
	Named  bool     // Joined and Left are everybody who came and went; else there are too many to be named
	Joined []string // in the order of their bytes
	Left   []string
}

// Append appends the payload to b.
func (p *PresenceChange) Append(b []byte) []byte {
	e := encoder{b}
	e.pairs(1 + 2*count(p.Named))
	e.key("count")
	e.uint(p.Count)
	if p.Named {
		e.strs("joined", p.Joined)
		e.strs("left", p.Left)
	}
	return e.end()
}

func (e *encoder) strs(name string, list []string) {
	e.key(name)
	e.head(0x90, 0xdc, len(list))
	for _, s := range list {
		e.str(s)
	}
}
