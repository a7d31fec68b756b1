package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"github.com/carillon-mq/carillon/broker"
)

// logName is where in data_dir a planned restart leaves the log for the next start.
const logName = "log"

// lastLog is the log of the run before, nil if it left none. It is good for one run: whoever took it a second time would go on from
// before what was published since.
type lastLog struct {
	file *os.File
	dir  string
}

// openLog opens what the run before has left in dir. What cannot be opened is as good as none: clients are told gaps.
func openLog(dir string, log *slog.Logger) *lastLog {
	path := filepath.Join(dir, logName)
	_ = os.Remove(path + ".tmp") // of a run that was killed while it wrote
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a file")
	}
	var file *os.File
	if err == nil {
		file, err = os.Open(path)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			log.Warn("the last run's log cannot be opened: clients are told gaps", "path", path, "err", err)
		}
		return nil
	}
	return &lastLog{file: file, dir: dir}
}

// into gives the core the log.
func (l *lastLog) into(o *broker.Options) {
	if l != nil {
		o.Log = l.file
	}
}

// spend destroys the log, for good: a loss of power does not bring it back. Called when it has been read and nothing was published.
func (l *lastLog) spend() error {
	if l == nil {
		return nil
	}
	_ = l.file.Close() // read only
	if err := os.Remove(l.file.Name()); err != nil {
		return err
	}
	return syncDir(l.dir)
}

// release closes a log that was not spent: the next start may have it.
func (l *lastLog) release() {
	if l != nil {
		_ = l.file.Close()
	}
}

// saveLog leaves the log of a drained broker in dir for the next start, whole or not at all. It ends with ctx.
func saveLog(ctx context.Context, dir string, write func(io.Writer) error) (err error) {
	path := filepath.Join(dir, logName)
	part := path + ".tmp"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
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
	if err = os.Rename(part, path); err != nil {
		return err
	}
	return syncDir(dir)
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
