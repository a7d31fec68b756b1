// Package packetjson is the JSON form of packets ([JSN-1] to [JSN-6]), for the edge of the broker: what clients send becomes msgpack before
// the core sees it, and what the core sends becomes JSON behind it.
//
//	Read: text -> msgpack packets, which protocol.Next judges as all others
//	Append, AppendMessage: msgpack packets, a message -> text
//
// Text is not trusted: reading is strict, depth and counts are bounded by [ENC-6], and nothing is allocated but the result, which is as long as
// the text and a few bytes more.
package packetjson

import "github.com/carillon-mq/carillon/protocol"

// place says where in a packet of one type the values are that are bins in msgpack. Elements are counted from the type, which is 0.
type place struct {
	payload int    // the element; 0: there is none
	options int    // the element with the options, of a packet with a payload
	tokens  uint8  // bits of the elements that are tokens
	option  string // a token by this name, wherever it stands among options; "": none
}

// places are those of the packets that have any.
var places = [...]place{
	protocol.TypeConnected:  {tokens: 1 << 2},
	protocol.TypeSubscribe:  {option: "position"},
	protocol.TypeSubscribed: {tokens: 1 << 2},
	protocol.TypePublish:    {payload: 3, options: 4},
	protocol.TypeMessage:    {payload: 4, options: 6},
	protocol.TypeResumed:    {tokens: 1 << 2},
	protocol.TypeGap:        {tokens: 1<<3 | 1<<4},
	protocol.TypePing:       {tokens: 1 << 1},
	protocol.TypeHistory:    {option: "after"},
	protocol.TypeHistories:  {tokens: 1 << 2},
	protocol.TypeSubscribes: {option: "position"},
}

func placesOf(t protocol.Type) place {
	if int(t) < len(places) {
		return places[t]
	}
	return place{}
}
