//go:build unix

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAFolderThatADeadBrokerLeftIsRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	alive, remove, err := devFolder()
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	dead := filepath.Join(os.TempDir(), devFolders+"dead")
	strange := filepath.Join(os.TempDir(), devFolders+"strange")
	for _, folder := range []string{dead, strange} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dead, devLock), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	exists := func(folder string, want bool) {
		t.Helper()
		if _, err := os.Stat(folder); (err == nil) != want {
			t.Errorf("%s: %v", folder, err)
		}
	}
	removeAbandoned(os.TempDir())
	exists(dead, true) // perhaps its owner is about to lock it

	long := time.Now().Add(-time.Hour)
	for _, folder := range []string{alive, dead} {
		if err := os.Chtimes(filepath.Join(folder, devLock), long, long); err != nil {
			t.Fatal(err)
		}
	}
	removeAbandoned(os.TempDir())
	exists(dead, false)
	exists(alive, true)
	exists(strange, true) // none of ours
	remove()
	exists(alive, false)
}
