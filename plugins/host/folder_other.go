//go:build !unix

package host

import (
	"errors"
	"os"
)

// checkFolder says what makes a folder unfit. Who may enter it is up to the system's own lists.
func checkFolder(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("is not a folder")
	}
	return nil
}

// lockFile opens a file, with further flags; there are no sockets here that another host could lose.
func lockFile(path string, flags int) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|flags, 0o600)
}

func anybodyMayWrite(os.FileInfo) bool { return false }
