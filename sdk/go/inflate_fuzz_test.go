package carillon

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/protocol"
)

// [MSG-5]: what is compressed is one stream with nothing behind it and at most the limit inside, as the library reads it whole, or the
// connection is broken.
func FuzzInflate(f *testing.F) {
	f.Add(deflate(f, "hello, hello, hello"))
	f.Add(deflate(f, strings.Repeat("x", 5000)))
	f.Add(append(deflate(f, "a"), 0))
	f.Add([]byte{})
	f.Add([]byte{0x03, 0x00})
	f.Add([]byte{0x01, 0x05, 0x00, 0xfa, 0xff, 'h', 'e', 'l', 'l', 'o'})
	const most = 4096
	f.Fuzz(func(t *testing.T, compressed []byte) {
		cn := &connection{compress: protocol.CompressDeflate, maxPayload: most}
		m := &protocol.Message{Encoding: protocol.CompressDeflate, Payload: bytes.Clone(compressed)}
		err := cn.inflate(m)
		from := bytes.NewReader(compressed)
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(from), most+1))
		sound := wantErr == nil && len(want) <= most && from.Len() == 0
		if (err == nil) != sound || sound && !bytes.Equal(m.Payload, want) {
			t.Errorf("found %d bytes and %v, wanted %d, sound: %t (%v, %d behind)", len(m.Payload), err, len(want), sound, wantErr, from.Len())
		}
	})
}
