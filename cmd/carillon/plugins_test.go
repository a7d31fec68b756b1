package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestADataFolderThatCannotBeUsedIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"below a file", makeDataDir(filepath.Join(file, "data")), "data_dir: " + filepath.Join(file, "data") + " cannot be used: not a directory; name another"},
		{
			"of another user", dataDirError("/var/lib/x", &os.PathError{Op: "open", Path: "/var/lib/x/y", Err: fs.ErrPermission}),
			fmt.Sprintf("data_dir: the user with id %d may not write to /var/lib/x: permission denied; give that user the folder (chown %[1]d)", os.Getuid()),
		},
	} {
		if tc.err == nil || !strings.HasPrefix(tc.err.Error(), tc.want) {
			t.Errorf("%s:\n got %v\nwant %s…", tc.name, tc.err, tc.want)
		}
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err := makeDataDir(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
