package host

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	// maxFolderPath leaves room for "/plugin-dir1234567890/plugin1234567890" in the 104 bytes that a socket's path may have.
	maxFolderPath = 64

	temporaryPrefix = "carillon-plugins-"
	socketPrefix    = "plugin-dir" // go-plugin's, one folder for each start
	lockName        = "lock"
)

// folder holds the plugins' sockets. Only this user may enter it, and only one host at a time uses it.
type folder struct {
	path      string
	lock      *os.File
	temporary bool
}

// openFolder takes the folder at path, or makes a temporary one, and removes what hosts before it have left there.
func openFolder(path string) (*folder, error) {
	if path == "" {
		return temporaryFolder()
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if len(path) > maxFolderPath {
		return nil, fmt.Errorf("plugin folder %s has %d bytes, at most %d leave room for a socket's path", path, len(path), maxFolderPath)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("plugin folder: %w", err)
	}
	if err := checkFolder(path); err != nil {
		return nil, fmt.Errorf("plugin folder %s %w", path, err)
	}
	f := &folder{path: path}
	if f.lock, err = takeLock(filepath.Join(path, lockName)); err != nil {
		return nil, fmt.Errorf("plugin folder %s is in use by another process, such as another broker; end it, or take another folder: %w", path, err)
	}
	f.sweep()
	return f, nil
}

// takeLock locks the file at path, and makes sure that it still is the file at path.
func takeLock(path string) (*os.File, error) {
	lock, err := lockFile(path, os.O_CREATE)
	if err != nil {
		return nil, err
	}
	locked, err := lock.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Stat(path); err == nil && !os.SameFile(locked, there) {
			err = os.ErrNotExist
		}
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// temporaryFolder makes a new folder. Another host that starts right now may take it for abandoned: then it is made again.
func temporaryFolder() (*folder, error) {
	dir := temporaryRoot()
	left, _ := filepath.Glob(filepath.Join(dir, temporaryPrefix+"*"))
	for _, path := range left {
		removeAbandoned(path)
	}
	for tries := 0; ; tries++ {
		path, err := os.MkdirTemp(dir, temporaryPrefix)
		if err != nil {
			return nil, fmt.Errorf("plugin folder: %w", err)
		}
		f, err := openFolder(path)
		if err == nil {
			f.temporary = true
			return f, nil
		}
		if os.RemoveAll(path); tries == 10 {
			return nil, err
		}
	}
}

// temporaryRoot is the system's folder for temporary ones, or /tmp where its path is too long, as it is on macOS.
func temporaryRoot() string {
	const random = 10 // digits at most that MkdirTemp appends
	dir := os.TempDir()
	if runtime.GOOS != "windows" && len(dir)+1+len(temporaryPrefix)+random > maxFolderPath {
		return "/tmp"
	}
	return dir
}

// removeAbandoned removes a temporary folder of this user's whose host is gone.
func removeAbandoned(path string) {
	if checkFolder(path) != nil {
		return
	}
	lock, err := lockFile(filepath.Join(path, lockName), 0)
	if err != nil {
		return // in use, or being made or removed right now
	}
	os.RemoveAll(path)
	lock.Close()
}

// sweep removes the folders of sockets. Plugins of a host that is gone are gone, or going, too.
func (f *folder) sweep() {
	entries, _ := os.ReadDir(f.path)
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), socketPrefix) {
			os.RemoveAll(filepath.Join(f.path, e.Name()))
		}
	}
}

func (f *folder) close() error {
	defer f.lock.Close()
	f.sweep()
	if f.temporary {
		return os.RemoveAll(f.path)
	}
	return nil
}
