package storebolt

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestZerosAreWrittenBehindTheLastPageAlone(t *testing.T) {
	const used = 8 << 20
	pages := bytes.Repeat([]byte{0xab}, used)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, pages, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size := func() int64 {
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for _, c := range []struct {
		name                    string
		limit, used, wantedSize int64
	}{
		{"a piece", 1 << 30, used, used + aheadMost},
		{"none while there is half of it", 1 << 30, used + aheadMost/2, used + aheadMost},
		{"the next one", 1 << 30, used + aheadMost/2 + 1, used + aheadMost + aheadMost/2 + 1},
		{"a part for a small file", 1 << 30, 1 << 20, 1<<20 + 1<<18},
		{"up to the limit", used + 4096, used, used + 4096},
		{"nothing beyond the limit", used - 4096, used, used},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := file.Truncate(min(c.used, used)); err != nil {
				t.Fatal(err)
			}
			a := ahead{file: file, limit: c.limit}
			if c.used > used { // it goes on from the first piece
				a.of(used)
			}
			a.of(c.used)
			if got := size(); got != c.wantedSize {
				t.Errorf("the file has %d bytes, wanted %d", got, c.wantedSize)
			}
			a.of(c.used)
			if got := size(); got != c.wantedSize {
				t.Errorf("it grew when nothing was used, to %d bytes", got)
			}
			all, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			n := min(c.used, used)
			if !bytes.Equal(all[:n], pages[:n]) || bytes.Count(all[n:], []byte{0}) != len(all[n:]) {
				t.Error("it wrote into the pages, or something else than zeros")
			}
			if err := os.WriteFile(path, pages, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAFileThatTakesNoZerosIsLeftAlone(t *testing.T) {
	file, err := os.Open(os.DevNull) // for reading
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	a := ahead{file: file, limit: 1 << 30}
	a.of(1 << 20)
	before := a.through
	a.of(1 << 29)
	if a.through != before || before <= 1<<30 {
		t.Errorf("it tries again: through %d, then %d", before, a.through)
	}
}
