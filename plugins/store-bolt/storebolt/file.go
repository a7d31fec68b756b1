package storebolt

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	fileName    = "store.db"
	tempPattern = fileName + ".new-*"
	fileFormat  = 2

	// lockTimeout bounds the wait for a plugin that is about to end. bbolt's 0 would wait for ever.
	lockTimeout = 2 * time.Second
)

var (
	bucketMeta     = []byte("meta")
	bucketTerms    = []byte("terms")
	bucketLog      = []byte("log")
	bucketRetained = []byte("retained")
	bucketGone     = []byte("gone")
	bucketExpiry   = []byte("expiry")
	bucketKeys     = []byte("keys")
	keyFormat      = []byte("format")
	keyState       = []byte("state")
	prefixOrigin   = []byte("origin")
)

// ErrInUse is wrapped by errors about a file that another process has open.
var ErrInUse = errors.New("in use by another process")

// openFile makes the file if there is none, checks it, and opens it for writing. Nothing is written to a file that was
// there. On errors the file is closed again and its lock is free.
func openFile(cfg Config) (*bolt.DB, *os.File, error) {
	path := filepath.Join(cfg.Dir, fileName)
	if err := makeDir(cfg.Dir); err != nil {
		return nil, nil, err
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
		err := createFile(cfg.Dir, path)
		if _, missing := os.Lstat(path); missing != nil { // else there is one, even if somebody else was faster
			return nil, nil, fmt.Errorf("create %s: %w", path, err)
		}
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() == 0:
		return nil, nil, repairHint(path, fmt.Errorf("%w: it is empty", ErrDamaged))
	}
	warning, err := checkFile(path)
	if err != nil {
		return nil, nil, err
	}
	if warning != "" {
		cfg.Logger.Warn("the store's file has a damaged head page; if that was no interrupted write, its last commit is gone",
			"plugin", "store-bolt", "path", path, "err", warning)
	}
	db, file, err := boltOpen(path, &bolt.Options{
		Timeout:         lockTimeout,
		FreelistType:    bolt.FreelistMapType,
		NoFreelistSync:  true,
		InitialMmapSize: initialMmap(),
		MaxSize:         int(min(cfg.MaxFileBytes, math.MaxInt)),
	})
	if err != nil {
		return nil, nil, err
	}
	db.AllocSize = int(min(cfg.MaxFileBytes/256, aheadMost)) // by so much bbolt stays below MaxSize; ahead sees to larger steps
	return db, file, nil
}

func makeDir(dir string) error {
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		return syncDir(filepath.Dir(dir))
	case !errors.Is(err, os.ErrExist):
		return fmt.Errorf("folder of the store: %w", err)
	}
	switch info, err := os.Stat(dir); {
	case err != nil:
		return fmt.Errorf("folder of the store: %w", err)
	case !info.IsDir():
		return fmt.Errorf("folder of the store: %s is not a folder", dir)
	}
	return nil
}

// createFile makes a complete, empty store under a name of its own and links it to path, so that a crash never leaves
// half a file there, and of two processes that start at once only one makes it.
func createFile(dir, path string) error {
	f, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return err
	}
	temp := f.Name()
	defer os.Remove(temp)
	if err := f.Close(); err != nil {
		return err
	}
	db, _, err := boltOpen(temp, &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true})
	if err != nil {
		return err
	}
	err = db.Update(initBuckets)
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Link(temp, path); err != nil && !errors.Is(err, os.ErrExist) {
		if err := os.Rename(temp, path); err != nil { // a file system without links
			return err
		}
	}
	return syncDir(dir)
}

func initBuckets(tx *bolt.Tx) error {
	for _, name := range [][]byte{bucketMeta, bucketTerms, bucketLog, bucketRetained, bucketGone, bucketExpiry, bucketKeys} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	if err := meta.Put(keyFormat, sealNumbers(fileFormat)); err != nil {
		return err
	}
	return meta.Put(keyState, state{}.seal())
}

// sweep removes what interrupted creations have left. Called while the store's file is locked.
func sweep(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, tempPattern))
	for _, path := range left {
		_ = os.Remove(path)
	}
}

// boltOpen is bolt.Open that never creates path, names what holds the lock, and turns a panic into an error.
func boltOpen(path string, opt *bolt.Options) (db *bolt.DB, file *os.File, err error) {
	opt.OpenFile = func(name string, flag int, perm os.FileMode) (*os.File, error) {
		var err error
		file, err = os.OpenFile(name, flag&^os.O_CREATE, perm)
		return file, err
	}
	err = guard(func() error {
		var err error
		db, err = bolt.Open(path, 0o600, opt)
		return err
	})
	if err == nil {
		return db, file, nil
	}
	if file != nil {
		_ = file.Close() // bbolt leaves it open when it panics
	}
	var system syscall.Errno
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, nil, fmt.Errorf("%s is %w (its lock was not free within %v): is another broker running on this folder?",
			path, ErrInUse, lockTimeout)
	case errors.As(err, &system), errors.Is(err, bolterrors.ErrMaxSizeReached):
		return nil, nil, fmt.Errorf("open %s: %w", path, err)
	case errors.Is(err, ErrDamaged):
		return nil, nil, repairHint(path, err)
	}
	return nil, nil, repairHint(path, fmt.Errorf("%w: %w", ErrDamaged, err)) // bbolt does not make sense of it
}

func repairHint(path string, err error) error {
	return fmt.Errorf("%s can't be used: %w; nothing in it was changed: restore a backup, or move the file away to start with an empty store",
		path, err)
}

// guard calls fn and returns a panic of it, or a fault on a page of the file, as an error that wraps ErrDamaged: bbolt
// panics on pages that make no sense.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return fn()
}

// initialMmap is the size of the first mapping. While the file is smaller it is never mapped anew, which would have to
// wait for all readers. It is address space, not memory; but Windows makes the file that large, and 32 bits have none.
func initialMmap() int {
	if runtime.GOOS == "windows" || strconv.IntSize == 32 {
		return 0
	}
	gib := 1 << 30
	return 16 * gib
}

// syncDir makes a new name in dir durable. Windows does that by itself and has no such call.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
