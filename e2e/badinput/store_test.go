package badinput

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
)

// TestDamagedStores starts a broker on what is left of a store that another one has written (C12): it does not start, says what to do, and leaves
// the file as it is.
func TestDamagedStores(t *testing.T) {
	t.Parallel()
	sound := writtenStore(t)
	page := os.Getpagesize()
	for _, in := range []startInput{
		{name: "both of its head pages are flipped", data: flipped(sound, 0, 2*page), want: hint},
		{name: "it is cut in the middle", data: sound[:len(sound)/2/page*page], want: hint},
		{name: "it is cut inside a page", data: sound[:page+100], want: hint},
		{name: "everything behind its head pages is flipped", data: flipped(sound, 2*page, len(sound)), want: hint},
		{name: "it is of a format to come", data: newerStore(t, sound), want: `format 99`},
	} {
		t.Run("C12 "+in.name, func(t *testing.T) { in.try(t) })
	}
	t.Run("C12 one of its head pages is flipped", func(t *testing.T) { oneHead(t, sound, page) })
}

// writtenStore is the file of a broker that has kept a message and ended as it should.
func writtenStore(t *testing.T) []byte {
	t.Helper()
	s := openStand(t, config)
	w := dial(t, s.listen)
	if a := w.exchange(post("kept.a", marker, bearer(token(t, "42", everything)))); a == nil || a.StatusCode != 200 {
		t.Fatalf("found %+v", a)
	}
	w.nc.Close()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	b, err := os.ReadFile(filepath.Join(s.dir, "data", "store", "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// flipped is b with every bit from one byte to another changed.
func flipped(b []byte, from, to int) []byte {
	b = slices.Clone(b)
	for i := from; i < to; i++ {
		b[i] ^= 0xff
	}
	return b
}

// newerStore is the store as a later version could write it: with a format that this one does not know.
func newerStore(t *testing.T, sound []byte) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(file, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	number := binary.BigEndian.AppendUint64(nil, 99)
	sealed := binary.BigEndian.AppendUint32(nil, crc32.Checksum(number, crc32.MakeTable(crc32.Castagnoli)))
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), append(sealed, number...))
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, readErr := os.ReadFile(file)
	if err != nil || readErr != nil {
		t.Fatal(err, readErr)
	}
	return b
}

// oneHead flips one of the two head pages, which is what a write leaves that the machine has not finished: the broker starts from the other one,
// and says so.
func oneHead(t *testing.T, sound []byte, page int) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(dir, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "store", "store.db"), flipped(sound, page, 2*page), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStandIn(t, config, dir)
	if !strings.Contains(s.said(0), "damaged head page") {
		t.Errorf("it started and said %q", s.said(0))
	}
}
