package conformance

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/carillon-mq/carillon/protocol"
)

// inflate adds to a Message what its payload stands for, as `content`, whether it is compressed or not, and reports one that is compressed and
// must not be, or not like this ([CON-12], [MSG-5]).
func (c *conn) inflate(p packet) error {
	switch p.name {
	case "Connected":
		c.compress, _ = p.values["compress"].(string)
		limits, _ := p.values["limits"].(map[string]any)
		told, _ := integer(limits["payload"])
		c.payload = cmp.Or(told, maxMessage)
	case "Message":
		encoding, compressed := p.values["encoding"].(string)
		content := p.values["payload"]
		if compressed {
			if encoding != c.compress || encoding != protocol.CompressDeflate {
				return fmt.Errorf("a payload is compressed with %q, and %q was agreed [MSG-5]", encoding, c.compress)
			}
			b, err := inflated(content, c.payload)
			if err != nil {
				return fmt.Errorf("%w [MSG-5]", err)
			}
			content = hex.EncodeToString(b)
		}
		p.values["content"] = content
	}
	return nil
}

// inflated is what a payload in hex stands for, at most so many bytes.
func inflated(payload any, most int64) ([]byte, error) {
	b, err := parseHex(fmt.Sprint(payload))
	if err != nil {
		return nil, err
	}
	from := bytes.NewReader(b) // of which the other reader takes no byte that it does not need
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(from), most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("a compressed payload: %w", err)
	case int64(len(plain)) > most:
		return nil, fmt.Errorf("a compressed payload holds more than the limit of %d bytes", most)
	case from.Len() > 0:
		return nil, fmt.Errorf("behind a compressed payload are %d bytes", from.Len())
	}
	return plain, nil
}
