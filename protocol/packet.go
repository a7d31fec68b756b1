package protocol

// Packet is any packet that has a form. Append appends it to b in its canonical encoding: shortest integers, options that differ
// from their default in the order of the spec, headers sorted ([ENC-10]).
type Packet interface {
	Type() Type
	Append(b []byte) []byte
}

var (
	_ Packet = (*Connect)(nil)
	_ Packet = (*Connected)(nil)
	_ Packet = (*Subscribe)(nil)
	_ Packet = (*Subscribed)(nil)
	_ Packet = (*Unsubscribe)(nil)
	_ Packet = (*Unsubscribed)(nil)
	_ Packet = (*Publish)(nil)
	_ Packet = (*Published)(nil)
	_ Packet = (*Message)(nil)
	_ Packet = (*Replay)(nil)
	_ Packet = (*RetainedEnd)(nil)
	_ Packet = (*Resumed)(nil)
	_ Packet = (*Gap)(nil)
	_ Packet = (*Ping)(nil)
	_ Packet = (*Pong)(nil)
	_ Packet = (*Refresh)(nil)
	_ Packet = (*Refreshed)(nil)
	_ Packet = (*History)(nil)
	_ Packet = (*Histories)(nil)
	_ Packet = (*Presence)(nil)
	_ Packet = (*Presences)(nil)
	_ Packet = (*ErrorPacket)(nil)
	_ Packet = (*Disconnect)(nil)
	_ Packet = (*Subscribes)(nil)
)

type decodable interface {
	Packet
	Decode(r Raw) error
}

// DecodePacket decodes a packet of any type. Types without a form, the reserved ones included, are unknown_type. A broker or
// client that knows what it expects calls the packet's own Decode, which allocates less.
func DecodePacket(r Raw) (Packet, error) {
	p := newPacket(r.Type)
	if p == nil {
		return nil, Errorf(CodeUnknownType, "found a packet of type %d, which this version does not know", r.Type)
	}
	if err := p.Decode(r); err != nil {
		return nil, err
	}
	return p, nil
}

func newPacket(t Type) decodable {
	switch t {
	case TypeConnect:
		return new(Connect)
	case TypeConnected:
		return new(Connected)
	case TypeSubscribe:
		return new(Subscribe)
	case TypeSubscribed:
		return new(Subscribed)
	case TypeUnsubscribe:
		return new(Unsubscribe)
	case TypeUnsubscribed:
		return new(Unsubscribed)
	case TypePublish:
		return new(Publish)
	case TypePublished:
		return new(Published)
	case TypeMessage:
		return new(Message)
	case TypeReplay:
		return new(Replay)
	case TypeRetainedEnd:
		return new(RetainedEnd)
	case TypeResumed:
		return new(Resumed)
	case TypeGap:
		return new(Gap)
	case TypePing:
		return new(Ping)
	case TypePong:
		return new(Pong)
	case TypeRefresh:
		return new(Refresh)
	case TypeRefreshed:
		return new(Refreshed)
	case TypeHistory:
		return new(History)
	case TypeHistories:
		return new(Histories)
	case TypePresence:
		return new(Presence)
	case TypePresences:
		return new(Presences)
	case TypeError:
		return new(ErrorPacket)
	case TypeDisconnect:
		return new(Disconnect)
	case TypeSubscribes:
		return new(Subscribes)
	default: // reserved, or of an extension
		return nil
	}
}
