package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// logName is where in data_dir a planned restart leaves the log for the next start, and ownerName where the id of the present run is.
const (
	logName   = "log"
	ownerName = "log.owner"
)

// logFile is the log that a run finds and the one that it leaves. One that was found is good for one run: whoever took it a second time
// would go on from before what was published since. nil finds and leaves none.
type logFile struct {
	dir   string
	owner []byte
	found *os.File // nil: the run before has left none
}

// openLog opens what the run before has left in dir. What cannot be opened is as good as none: clients are told gaps.
func openLog(dir string, log *slog.Logger) *logFile {
	id := protocol.NewRunID()
	l := &logFile{dir: dir, owner: []byte(id.String())}
	_ = os.Remove(l.path() + ".tmp") // of a run that was killed while it wrote
	info, err := os.Lstat(l.path())
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err == nil {
		l.found, err = os.Open(l.path())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the last run's log cannot be opened: clients are told gaps", "path", l.path(), "err", err)
	}
	return l
}

var errNoFile = errors.New("it is not a file")

func (l *logFile) path() string { return filepath.Join(l.dir, logName) }

// into gives the core the log.
func (l *logFile) into(o *broker.Options) {
	if l != nil && l.found != nil {
		o.Log = l.found
	}
}

// release closes a log that was not spent: the next start may have it.
func (l *logFile) release() {
	if l != nil && l.found != nil {
		_ = l.found.Close() // read only
	}
}

// spend destroys the log, for good: a loss of power does not bring it back. Called when it has been read and nothing was published. It
// makes this run the owner of the folder first: a run before that still drains does not leave its log behind this one's back.
func (l *logFile) spend() error {
	if l == nil {
		return nil
	}
	l.release()
	if err := os.WriteFile(filepath.Join(l.dir, ownerName), l.owner, 0o600); err != nil {
		return err
	}
	if info, err := os.Lstat(l.path()); err == nil && info.Mode().IsRegular() {
		if err := os.Remove(l.path()); err != nil {
			return err
		}
	}
	return syncDir(l.dir)
}

// save leaves the log of a drained broker for the next start, whole or not at all. It ends with ctx.
func (l *logFile) save(ctx context.Context, write func(io.Writer) error) (err error) {
	if l == nil {
		return nil
	}
	part := l.path() + ".tmp"
	if err := l.owns(); err != nil {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // twice, at times
			_ = os.Remove(part)
		}
	}()
	if err = write(until(ctx, f)); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(part, l.path()); err != nil {
		return err
	}
	if err = l.owns(); err != nil { // since: it has destroyed what it found before
		_ = os.Remove(l.path())
		return err
	}
	return syncDir(l.dir)
}

// owns reports that another broker has begun in the folder.
func (l *logFile) owns() error {
	owner, err := os.ReadFile(filepath.Join(l.dir, ownerName))
	if err == nil && !bytes.Equal(owner, l.owner) {
		err = errors.New("another broker has begun in this data_dir")
	}
	return err
}

// until is w until ctx has ended, and then fails.
func until(ctx context.Context, w io.Writer) io.Writer {
	return writerFunc(func(b []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return w.Write(b)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// syncDir makes names in dir durable. Windows does that by itself and has no such call.
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
