//go:build unix

package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestTheFolderIsForOneHostAndSwept(t *testing.T) {
	t.Parallel()
	base := shortDir(t)
	dir := filepath.Join(base, "run")
	left := filepath.Join(dir, "plugin-dir123")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "plugin1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := patient()
	o.Dir = dir
	h := newHost(t, o)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what an earlier host left is still there: %v", err)
	}
	startAuth(t, h, bundled("a", "auth"))
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second host: %v", err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left in the folder: %v", entries)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{dir, link, filepath.Join(base, strings.Repeat("x", 60))} {
		o.Dir = bad
		if h, err := New(o); err == nil {
			t.Errorf("%s: accepted", bad)
			_ = h.Close(t.Context())
		}
	}
}

func TestTemporaryFoldersOfHostsThatStartTogetherAreNotTakenForAbandoned(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 10 {
				f, err := openFolder("")
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(filepath.Join(f.path, lockName)); err != nil {
					t.Errorf("the folder of a host is gone: %v", err)
				}
				if err := f.close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func TestATemporaryFolderHasRoomForASocketsPath(t *testing.T) {
	t.Setenv("TMPDIR", "/"+strings.Repeat("x", maxFolderPath))
	f, err := openFolder("")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
}

func TestTheTemporaryFolderOfAHostThatIsGoneIsRemoved(t *testing.T) {
	t.Parallel()
	abandoned, err := openFolder("")
	if err != nil {
		t.Fatal(err)
	}
	abandoned.lock.Close()
	newHost(t, patient())
	if _, err := os.Stat(abandoned.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
