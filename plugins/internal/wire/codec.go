package wire

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// DialOptions are what a host connects to a plugin with.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)),
		grpc.WithStaticStreamWindowSize(WindowBytes), grpc.WithStaticConnWindowSize(WindowBytes),
		grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 5 * time.Second}),
	}
}

// reconnect is how long a host waits before it connects again to a plugin that has closed the connection and goes on. It is a socket of this
// machine: gRPC's own wait, a second and then up to two minutes, is for others.
var reconnect = backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond}

// ServerOptions are what a plugin's server is made with. RegisterStore needs them.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessageBytes), grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.StaticStreamWindowSize(WindowBytes), grpc.StaticConnWindowSize(WindowBytes),
		grpc.ForceServerCodecV2(newCodec()),
	}
}

// message is one of those that a publish goes through: it is made of the core's own types and is encoded and decoded without the
// generated ones between. Its bytes are the same protobuf.
type message interface {
	size() int
	appendTo(b []byte) []byte
	// decode takes what stands in b, which it may keep. An error is about the encoding; what breaks the contract is left to the reader.
	decode(b []byte) error
}

// codec is gRPC's for protobuf, which knows message too.
type codec struct{ encoding.CodecV2 }

func newCodec() encoding.CodecV2 { return codec{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ours := v.(message)
	if !ours {
		return c.CodecV2.Marshal(v)
	}
	pool := mem.DefaultBufferPool()
	b := pool.Get(m.size())
	*b = m.appendTo((*b)[:0])
	return mem.BufferSlice{mem.NewBuffer(b, pool)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ours := v.(message)
	if !ours {
		return c.CodecV2.Unmarshal(data, v)
	}
	return m.decode(data.Materialize())
}

// fields reads an encoded message field by field.
type fields struct {
	b   []byte
	num protowire.Number
	typ protowire.Type
	err error
}

// next goes to the next field. Its value must be taken before next is called again.
func (f *fields) next() bool {
	if f.err != nil || len(f.b) == 0 {
		return false
	}
	num, typ, n := protowire.ConsumeTag(f.b)
	if n >= 0 && !num.IsValid() {
		f.err = fmt.Errorf("not protobuf: field number %d", num)
		return false
	}
	f.num, f.typ = num, typ
	return f.took(n)
}

// is reports whether the field is num, encoded as typ.
func (f *fields) is(num protowire.Number, typ protowire.Type) bool {
	return f.num == num && f.typ == typ
}

func (f *fields) varint() uint64 {
	v, n := protowire.ConsumeVarint(f.b)
	f.took(n)
	return v
}

// bytes points into the message.
func (f *fields) bytes() []byte {
	v, n := protowire.ConsumeBytes(f.b)
	f.took(n)
	return slices.Clip(v)
}

func (f *fields) skip() { f.took(protowire.ConsumeFieldValue(f.num, f.typ, f.b)) }

func (f *fields) took(n int) bool {
	if n < 0 {
		f.err = fmt.Errorf("not protobuf: %w", protowire.ParseError(n))
		return false
	}
	f.b = f.b[n:]
	return true
}

// count is how often the field num occurs in b, as a part of it.
func count(b []byte, num protowire.Number) int {
	n := 0
	for f := (fields{b: b}); f.next(); f.skip() {
		if f.is(num, protowire.BytesType) {
			n++
		}
	}
	return n
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	return appendUint(b, num, protowire.EncodeBool(v))
}

func appendBytes[T string | []byte](b []byte, num protowire.Number, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return append(appendLength(b, num, len(v)), v...)
}

// appendLength begins a field of n bytes, which the caller appends.
func appendLength(b []byte, num protowire.Number, n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.BytesType), uint64(n))
}

func sizeUint(num protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeVarint(v)
}

func sizeBool(num protowire.Number, v bool) int { return sizeUint(num, protowire.EncodeBool(v)) }

func sizeBytes[T string | []byte](num protowire.Number, v T) int {
	if len(v) == 0 {
		return 0
	}
	return sizeLength(num, len(v))
}

// sizeLength is the size of a field of n bytes.
func sizeLength(num protowire.Number, n int) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(n)
}
