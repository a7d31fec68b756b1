package ws

import (
	"sync"

	"github.com/carillon-mq/carillon/protocol"
)

// maxFragments is how many frames a message may come in.
const maxFragments = 1024

var (
	errFragments = protocol.Errorf(protocol.CodeBadFrame, "found a message in more than %d fragments", maxFragments)
	errText      = protocol.Errorf(protocol.CodeBadFrame, "found a text message, wanted binary messages of msgpack packets")
	errBinary    = protocol.Errorf(protocol.CodeBadFrame, "found a binary message, wanted text messages of packets in JSON")
)

// sink is where what a client sends goes.
type sink interface {
	// message takes a whole message; another one has been received already if more says so.
	message(payload []byte, more bool) error
	control(op byte, payload []byte) error
}

// frames makes messages of what is received, in whatever pieces. It holds something only in the middle of a message.
type frames struct {
	limit int  // bytes of a message
	most  int  // bytes that may have been received when a message is handed on, that one included; 0: any number
	text  bool // messages are text, otherwise binary
	part  *partial
}

// op is the opcode that messages have.
func (f *frames) op() byte {
	if f.text {
		return opText
	}
	return opBinary
}

// partial is a message that has begun and not ended.
type partial struct {
	raw       []byte // of a frame that is not all there
	message   []byte // of the fragments so far
	fragments int    // 0: the message has no frame that is all there
}

// partials are for the next ones.
var partials = sync.Pool{New: func() any { return new(partial) }}

// keptPartial is the largest buffer that is kept for the next one.
const keptPartial = 128 << 10

// take hands on what has been received, as far as its frames are all there, and keeps the rest. It may change b. After an error it is not called
// again.
func (f *frames) take(b []byte, to sink) error {
	if p := f.part; p != nil && len(p.raw) > 0 {
		p.raw = append(p.raw, b...)
		b = p.raw
	}
	for {
		h, ok, err := readHeader(b)
		if err == nil && ok {
			err = f.admit(&h)
		}
		if err != nil {
			f.keep(b)
			return err
		}
		if !ok || uint64(len(b)-h.bytes) < h.size {
			break
		}
		end := h.bytes + int(h.size)
		payload, rest := b[h.bytes:end], b[end:]
		unmask(payload, h.key)
		if err := f.pass(&h, payload, rest, to); err != nil {
			f.keep(rest)
			return err
		}
		b = rest
	}
	f.keep(b)
	return nil
}

// admit checks a frame by its header, before its payload is waited for.
func (f *frames) admit(h *header) error {
	if h.control() {
		return nil
	}
	fragments, size := 0, 0
	if f.part != nil {
		fragments, size = f.part.fragments, len(f.part.message)
	}
	switch {
	case (fragments > 0) != (h.op == opContinuation):
		return malformed("a message begins inside another, or in its middle")
	case h.op != opContinuation && h.op != f.op():
		return wrongMessage(f.text)
	case h.size > uint64(f.limit-size):
		return protocol.Errorf(protocol.CodeMessageTooLarge, "found a message of more than %d bytes", f.limit)
	case fragments >= maxFragments:
		return errFragments
	}
	return nil
}

// wrongMessage is the fault of a message of the other kind.
func wrongMessage(text bool) error {
	if text {
		return errBinary
	}
	return errText
}

// pass takes one frame. rest has been received behind it.
func (f *frames) pass(h *header, payload, rest []byte, to sink) error {
	switch {
	case h.control():
		return to.control(h.op, payload)
	case f.most > 0 && len(payload)+len(rest) > f.most:
		return protocol.Errorf(protocol.CodeMessageTooLarge, "found more than %d bytes before Connected", f.most)
	case h.final && h.op != opContinuation:
		return to.message(payload, f.another(rest))
	}
	if f.part == nil {
		f.part = partials.Get().(*partial)
	}
	p := f.part
	p.fragments++
	p.message = append(p.message, payload...)
	if !h.final {
		return nil
	}
	err := to.message(p.message, f.another(rest))
	p.fragments, p.message = 0, p.message[:0]
	return err
}

// another reports whether b begins with a whole message.
func (f *frames) another(b []byte) bool {
	h, ok, err := readHeader(b)
	return ok && err == nil && h.final && h.op == f.op() && uint64(len(b)-h.bytes) >= h.size
}

// keep remembers the beginning of a frame until its rest comes.
func (f *frames) keep(b []byte) {
	if len(b) > 0 {
		if f.part == nil {
			f.part = partials.Get().(*partial)
		}
		f.part.raw = append(f.part.raw[:0], b...)
		return
	}
	if p := f.part; p != nil {
		if p.raw = p.raw[:0]; p.fragments == 0 {
			f.drop()
		}
	}
}

// unread is what was kept of frames that were not handed on.
func (f *frames) unread() []byte {
	if f.part == nil {
		return nil
	}
	return f.part.raw
}

// drop forgets what has begun.
func (f *frames) drop() {
	p := f.part
	if f.part = nil; p == nil || cap(p.raw) > keptPartial || cap(p.message) > keptPartial {
		return
	}
	p.raw, p.message, p.fragments = p.raw[:0], p.message[:0], 0
	partials.Put(p)
}
