package broker

import (
	"strings"

	"github.com/carillon-mq/carillon/broker/internal/deflate"
	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

// minCompressed is the smallest payload that is compressed: below it a packet gains little, and goes in one segment anyhow.
const minCompressed = 512

// Compressor is a Conn that may send payloads compressed ([CON-12]).
type Compressor interface {
	Conn
	// Compress has it send from now on what Broker.Compressed makes of Message packets. It reports whether it will. It is called before
	// anything is sent.
	Compress() bool
}

// compression makes payloads shorter, once for all who want them so.
type compression struct {
	live *deflate.Pool // for what is in the log: the shards
	past *deflate.Pool // for what is not, which sessions ask for one by one
}

func newCompression(shards int) compression {
	return compression{live: deflate.NewPool(shards + 1), past: deflate.NewPool(1)}
}

// startCompress has the session's conn compress what it sends, if the client asks for what there is. It returns what the client is told.
func (s *Session) startCompress(asked string) string {
	if asked != protocol.CompressDeflate || s.b.opt.NoCompress {
		return ""
	}
	if c, ok := s.conn.(Compressor); ok && c.Compress() {
		return asked
	}
	return ""
}

// Compressed is p, a Message packet, with its payload compressed, or p as it is where that is not worth it ([MSG-5]). It is made once, however
// many sessions get it, and shared by all of them. Nobody may change the result.
func (b *Broker) Compressed(p *Packet) []byte {
	plain := p.Bytes()
	if len(plain) < minCompressed {
		return plain
	}
	packet := b.ring.Form(p, ring.FormCompressed, b.compress)
	if packet == nil {
		return plain
	}
	b.stats.saved.Add(uint64(len(plain) - len(packet)))
	return packet
}

// compress is p with its payload compressed, nil where that is not worth it.
func (b *Broker) compress(p *Packet) (packet []byte, keep bool) {
	var m protocol.Message
	raw, _, err := protocol.Next(p.Bytes())
	if err != nil || m.Decode(raw) != nil || len(m.Payload) < minCompressed || m.Encoding != "" || isCompressed(m.ContentType) {
		return nil, true
	}
	pool := b.compression.past
	if seq, _ := p.Entry(); seq > 0 {
		pool = b.compression.live
	}
	payload, result := pool.Append(make([]byte, 0, len(m.Payload)/2), m.Payload)
	switch result {
	case deflate.Busy:
		return nil, false
	case deflate.Worthless:
		return nil, true
	case deflate.Done:
	}
	head := len(p.Bytes()) - len(m.Payload)
	m.Payload, m.Encoding = payload, protocol.CompressDeflate
	return m.Append(make([]byte, 0, head+len(payload)+32)), true
}

// isCompressed reports whether payloads of a type are compressed as they are.
func isCompressed(contentType string) bool {
	kind, of, _ := strings.Cut(contentType, "/")
	switch kind {
	case "image":
		return !strings.HasPrefix(of, "svg")
	case "audio", "video", "font":
		return true
	case "application":
		return of == "zip" || of == "gzip" || of == "zstd"
	}
	return false
}
