package protocol

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
)

// RunID names one run of something that counts: a broker's epoch, a store's term. It is random; the zero value is none.
type RunID [8]byte

// NewRunID returns a random RunID that is not zero.
func NewRunID() RunID {
	var id RunID
	for id.IsZero() {
		rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	}
	return id
}

// IsZero reports whether the id names no run.
func (id RunID) IsZero() bool { return id == RunID{} }

// String is the id in 16 hex digits.
func (id RunID) String() string { return hex.EncodeToString(id[:]) }

// Position is a place in the log: after entry Seq of the broker run Epoch, and after record Offset of the store, in its Term.
// On the wire and for applications it is opaque bytes, a token; only brokers compare positions ([POS-1]).
type Position struct {
	Epoch  RunID
	Seq    uint64
	Term   RunID
	Offset uint64
}

const (
	positionForm = 0x01
	// MaxPositionBytes is the length of the longest token of this version.
	MaxPositionBytes = 1 + 8 + 8 + 8 + 8
)

// IsZero reports whether p is no place at all.
func (p Position) IsZero() bool { return p == Position{} }

// Append appends the token of p: form, epoch, seq, term, offset ([POS-2]).
func (p Position) Append(b []byte) []byte {
	b = append(b, positionForm)
	b = append(b, p.Epoch[:]...)
	b = binary.AppendUvarint(b, p.Seq)
	b = append(b, p.Term[:]...)
	return binary.AppendUvarint(b, p.Offset)
}

// ParsePosition reads a token. Every position has one token and every other sequence of bytes is refused with bad_position
// ([POS-3]).
func ParsePosition(b []byte) (Position, error) {
	var p Position
	if len(b) == 0 || b[0] != positionForm {
		return p, Errorf(CodeBadPosition, "found %d bytes of another form, wanted a token of form 1", len(b))
	}
	if len(b) > MaxPositionBytes {
		return p, Errorf(CodeBadPosition, "found %d bytes, wanted at most %d", len(b), MaxPositionBytes)
	}
	rest := b[1:]
	ok := takeRun(&rest, &p.Epoch) && takeUvarint(&rest, &p.Seq) && takeRun(&rest, &p.Term) && takeUvarint(&rest, &p.Offset)
	if !ok || len(rest) != 0 {
		return Position{}, Errorf(CodeBadPosition, "found %d bytes that are not epoch, seq, term and offset", len(b))
	}
	return p, nil
}

func takeRun(b *[]byte, id *RunID) bool {
	if len(*b) < len(id) {
		return false
	}
	*b = (*b)[copy(id[:], *b):]
	return true
}

// takeUvarint takes a number in its shortest form, up to MaxInt.
func takeUvarint(b *[]byte, v *uint64) bool {
	x, n := binary.Uvarint(*b)
	if n <= 0 || x > MaxInt {
		return false
	}
	if n > 1 && (*b)[n-1] == 0 {
		return false
	}
	*v, *b = x, (*b)[n:]
	return true
}

var cursorText = base64.RawURLEncoding.Strict()

// Cursor is the token as text for URLs, SSE ids and scripts: base64url without padding ([POS-4]).
func (p Position) Cursor() string {
	var b [MaxPositionBytes]byte
	return cursorText.EncodeToString(p.Append(b[:0]))
}

// ParseCursor reads the text of a token. It refuses with bad_position what Cursor does not write.
func ParseCursor(s string) (Position, error) {
	if len(s) > cursorText.EncodedLen(MaxPositionBytes) {
		return Position{}, Errorf(CodeBadPosition, "found %d bytes of cursor, wanted at most %d", len(s), cursorText.EncodedLen(MaxPositionBytes))
	}
	b, err := cursorText.DecodeString(s)
	if err != nil || bytes.ContainsAny([]byte(s), "\r\n") {
		return Position{}, Errorf(CodeBadPosition, "found %d bytes of cursor that are not base64url without padding", len(s))
	}
	return ParsePosition(b)
}
