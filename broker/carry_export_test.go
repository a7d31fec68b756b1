package broker

import (
	"bytes"
	"io"

	"github.com/carillon-mq/carillon/broker/internal/carry"
)

// LogLines writes down everything that the log and the retained values are, but for what they cost.
func (b *Broker) LogLines() []string {
	return append([]string{b.epoch.String()}, b.ring.Lines()...)
}

// SealLog makes a log of what stands in its blocks.
func SealLog(content []byte) []byte {
	var b bytes.Buffer
	c := carry.NewWriter(&b)
	c.Raw(content)
	_ = c.Close() // of a buffer
	return b.Bytes()
}

// OpenLog is what stands in the blocks of a log.
func OpenLog(log []byte) []byte {
	c := carry.NewReader(bytes.NewReader(log))
	var content []byte
	for c.More() {
		content = append(content, c.Rest...)
		c.Rest = nil
	}
	if c.Err != nil {
		panic(c.Err)
	}
	return content
}

// CheckLog reads a log for a broker of the given options.
func CheckLog(log io.Reader, opt Options) error {
	opt = opt.withDefaults()
	_, err := readLog(log, &opt)
	return err
}
