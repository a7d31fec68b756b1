package protocol

import "strconv"

// Type is a packet's type, its first element. 1–31 are the spec's, 32–127 are free for extensions ([ENC-9]).
type Type uint8

// The packet types. Those marked reserved have a number but no form yet.
const (
	TypeConnect      Type = 1
	TypeConnected    Type = 2
	TypeSubscribe    Type = 3
	TypeSubscribed   Type = 4
	TypeUnsubscribe  Type = 5
	TypeUnsubscribed Type = 6
	TypePublish      Type = 7
	TypePublished    Type = 8
	TypeMessage      Type = 9
	TypeReplay       Type = 10
	TypeRetainedEnd  Type = 11
	TypeResumed      Type = 12
	TypeGap          Type = 13
	TypeAck          Type = 14 // reserved
	TypePing         Type = 15
	TypePong         Type = 16
	TypeRefresh      Type = 17
	TypeRefreshed    Type = 18
	TypeHistory      Type = 19
	TypeHistories    Type = 20
	TypePresence     Type = 21
	TypePresences    Type = 22
	TypeError        Type = 23
	TypeDisconnect   Type = 24
	TypeSubscribes   Type = 25

	maxType = 127
)

type direction uint8

const (
	fromClient direction = 1 << iota
	fromServer
)

// types has a row for every type the spec names. A reserved one has no direction.
var types = [...]struct {
	name string
	dir  direction
}{
	TypeConnect:      {"Connect", fromClient},
	TypeConnected:    {"Connected", fromServer},
	TypeSubscribe:    {"Subscribe", fromClient},
	TypeSubscribed:   {"Subscribed", fromServer},
	TypeUnsubscribe:  {"Unsubscribe", fromClient},
	TypeUnsubscribed: {"Unsubscribed", fromServer},
	TypePublish:      {"Publish", fromClient},
	TypePublished:    {"Published", fromServer},
	TypeMessage:      {"Message", fromServer},
	TypeReplay:       {"Replay", fromServer},
	TypeRetainedEnd:  {"RetainedEnd", fromServer},
	TypeResumed:      {"Resumed", fromServer},
	TypeGap:          {"Gap", fromServer},
	TypeAck:          {"Ack", 0},
	TypePing:         {"Ping", fromClient | fromServer},
	TypePong:         {"Pong", fromClient | fromServer},
	TypeRefresh:      {"Refresh", fromClient},
	TypeRefreshed:    {"Refreshed", fromServer},
	TypeHistory:      {"History", fromClient},
	TypeHistories:    {"Histories", fromServer},
	TypePresence:     {"Presence", fromClient},
	TypePresences:    {"Presences", fromServer},
	TypeError:        {"Error", fromServer},
	TypeDisconnect:   {"Disconnect", fromServer},
	TypeSubscribes:   {"Subscribes", fromClient},
}

// String is the packet's name in the spec, or "Type(n)" for one it does not name.
func (t Type) String() string {
	if int(t) < len(types) && types[t].name != "" {
		return types[t].name
	}
	return "Type(" + strconv.Itoa(int(t)) + ")"
}

// FromClient reports whether a client may send packets of this type.
func (t Type) FromClient() bool { return t.is(fromClient) }

// FromServer reports whether a server may send packets of this type. One that only a server may send closes the session of a
// client that sends it ([ENC-11]).
func (t Type) FromServer() bool { return t.is(fromServer) }

// Known reports whether this version of the spec gives the type a form. Packets of other types, the reserved ones included,
// are answered with unknown_type or ignored ([ENC-9]).
func (t Type) Known() bool { return t.is(fromClient | fromServer) }

func (t Type) is(d direction) bool { return int(t) < len(types) && types[t].dir&d != 0 }
