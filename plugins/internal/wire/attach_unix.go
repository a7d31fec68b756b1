//go:build unix

package wire

import (
	"fmt"
	"os"
	"syscall"
)

// checkOwner refuses a path that is no socket of this user's.
func checkOwner(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if info.Mode().Type() != os.ModeSocket || !ok || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is no socket of the user with id %d", path, os.Geteuid())
	}
	return nil
}
