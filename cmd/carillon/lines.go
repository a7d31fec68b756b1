package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLineBytes bounds one line of input. The broker's own limit of a message is lower by default.
const maxLineBytes = 1 << 20

// lineReader cuts input into lines without their line ends. The last one needs none.
type lineReader struct {
	r *bufio.Reader
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{bufio.NewReaderSize(r, 64<<10)}
}

// next is the next line; nil and no error at the end. A line that is too long is an error and is skipped whole.
func (l *lineReader) next() ([]byte, error) {
	line := []byte{}
	length := 0
	for {
		part, err := l.r.ReadSlice('\n')
		length += len(part)
		if length <= maxLineBytes+2 {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && length == 0:
			return nil, nil
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("read: %w", err)
		case length > maxLineBytes+2:
			return nil, fmt.Errorf("is %d bytes long, the limit is %d; left out", length, maxLineBytes)
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
	}
}
