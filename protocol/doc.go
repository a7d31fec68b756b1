// Package protocol is what a Carillon client and server say to each other: packets, topics, positions and codes.
//
// It is the Go face of spec/protocol.md, whose rule ids ([PUB-4]) its comments cite. It opens nothing and starts nothing: bytes in, structs
// out, and back. Clients, brokers and tools stand on it; it stands on the standard library alone.
//
// Bytes that come from outside go one way through it:
//
//	message -> Next (Gate: complete, bounded, valid UTF-8) -> Raw -> Publish.Decode -> ValidateTopic -> use
//
// Next has to see everything first. After it, nothing in this package allocates by what the bytes declare, recurses, or reads
// past the end. What goes out is appended to a []byte: Publish.Append, or for a message with many receivers Message.AppendTail
// once and FinishMessage when its place in the log is known.
//
// Every error is an *Error with a Code of the table in code_table.go. Its text says what was found and what was wanted; it never
// quotes a token or a payload. Everything here is safe for concurrent use unless it has a pointer receiver.
package protocol

// Version is the version of the protocol, the first field of Connect ([CON-2]).
const Version = 1

// Subprotocol is the WebSocket subprotocol of the msgpack encoding ([TRA-1]).
const Subprotocol = "carillon.v1"

// SubprotocolJSON is the WebSocket subprotocol of the JSON encoding ([JSN-1]).
const SubprotocolJSON = "carillon.v1.json"

// CompressDeflate is the one compression of payloads, raw DEFLATE (RFC 1951, [CON-12]).
const CompressDeflate = "deflate-raw"

// Limits that are part of the protocol. A server may set stricter ones and announces them in Connected.
const (
	MaxDepth       = 16   // arrays and maps inside one another ([ENC-6])
	MaxArray       = 1024 // elements of an array ([ENC-6])
	MaxMap         = 64   // pairs of a map ([ENC-6])
	MaxOptions     = 32   // pairs of a packet's options ([ENC-8])
	MaxTopicBytes  = 255  // bytes of a topic or filter ([TOP-5])
	MaxLevels      = 16   // levels of a topic or filter ([TOP-5])
	MaxHeaders     = 16   // headers of a message ([PUB-6])
	MaxHeaderBytes = 4096 // bytes of all header names and values together ([PUB-6])
	MaxMessageID   = 64   // bytes of a message id ([PUB-7])
	MaxContentType = 255  // bytes of a content type ([PUB-5])
	MaxTokenBytes  = 8192 // bytes of a token ([CON-3])
	MaxClientBytes = 128  // bytes of the client's name ([CON-4])
	MaxOrigin      = 64   // bytes of an origin, or of the name of a compression ([CON-11], [CON-12])

	MaxLast        = 1024 // messages that a subscription begins with, or that a page of history has ([SUB-9], [HIS-1])
	MaxRate        = 1000 // messages a second that a subscription may ask to be held to ([SUB-11])
	DefaultHistory = 100  // messages of a page of history that does not say ([HIS-1])
	MaxUsers       = 1000 // members that a Presences names ([PRE-4])

	MaxTTL = 1_000_000_000_000 // milliseconds that a message may last ([PUB-13])

	MaxInt = 1<<53 - 1 // highest integer in a packet ([ENC-3])
)
