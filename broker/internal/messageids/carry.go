package messageids

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// maxGenerations is more than there are at a time.
const maxGenerations = 2 * int(Window/generation)

// writeAtOnce is about how many bytes are written at a time.
const writeAtOnce = 32 << 10

var errForm = errors.New("message ids of another form")

// Write writes the table down, so that what is repeated after a planned restart, in the same run of the log, is known: the salt, the
// number of generations, and for each its age in milliseconds, the number of its ids, and these: key, digest, seq plus 1 or 0 for no
// place or 1 for not known, offset. Numbers are LEB128. Nothing may be on its way.
func (t *Table[W]) Write(to io.Writer, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropLocked(now)
	b := append([]byte(nil), t.salt[:]...)
	b = binary.AppendUvarint(b, uint64(len(t.generations)))
	for _, g := range t.generations {
		b = binary.AppendUvarint(b, uint64(now.Sub(g.began).Milliseconds()))
		b = binary.AppendUvarint(b, uint64(len(g.ids)))
		for key, f := range g.ids {
			b = binary.AppendUvarint(binary.AppendUvarint(b, key), f.digest)
			b = binary.AppendUvarint(binary.AppendUvarint(b, f.carried()), g.offsets[key])
			if len(b) < writeAtOnce {
				continue
			}
			if _, err := to.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err := to.Write(b)
	return err
}

func (f first) carried() uint64 {
	switch f.seq {
	case noPlace:
		return 0
	case unknown, onItsWay:
		return 1
	}
	return f.seq + 1
}

// Reader is what a table is read from.
type Reader interface {
	io.Reader
	io.ByteReader
}

// Read takes what Write wrote into the table, which is empty. elapsed is how long ago that was.
func (t *Table[W]) Read(from Reader, elapsed time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := io.ReadFull(from, t.salt[:]); err != nil {
		return err
	}
	r := numbers{from: from}
	now, generations := time.Now(), r.next()
	if generations > uint64(maxGenerations) {
		return errForm
	}
	for range generations {
		age := r.next()
		if age > uint64((generation + Window).Milliseconds()) {
			return errForm
		}
		g := t.generateLocked(now.Add(-elapsed - time.Duration(age)*time.Millisecond))
		for n := r.next(); n > 0 && r.err == nil; n-- {
			g.read(&r)
		}
		t.count += len(g.ids)
	}
	t.dropLocked(now)
	return r.err
}

func (g *generationOf) read(r *numbers) {
	key, f := r.next(), first{digest: r.next()}
	switch seq := r.next(); seq {
	case 0:
		f.seq = noPlace
	case 1:
		f.seq = unknown
	default:
		f.seq = seq - 1
	}
	offset := r.next()
	if r.err == nil {
		g.ids[key] = f
		g.setOffset(key, offset)
	}
}

// numbers reads numbers. After an error it gives zeros.
type numbers struct {
	from io.ByteReader
	err  error
}

func (r *numbers) next() uint64 {
	if r.err != nil {
		return 0
	}
	var v uint64
	if v, r.err = binary.ReadUvarint(r.from); r.err != nil {
		return 0
	}
	return v
}
