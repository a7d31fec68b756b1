//go:build !linux

package host

import "os"

// ownExecutable is the file of this program.
func ownExecutable() (string, error) { return os.Executable() }

// executeOpened cannot execute an opened file here: the path is executed, a moment after its check.
func (i *image) executeOpened(file *os.File) { file.Close() }
