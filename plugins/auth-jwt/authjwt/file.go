package authjwt

import (
	"fmt"
	"io"
	"os"
	"time"
)

// pollEvery is how often files are looked at for a change.
const pollEvery = 2 * time.Second

// watchedFile is a file that is read again when it has changed. It is not safe for concurrent use.
type watchedFile struct {
	path string
	most int64       // bytes; more is an error
	seen os.FileInfo // of what was read last; nil before
}

// read returns the file's content, or changed = false when it is the one that was read last. What was read counts as seen only when
// it could be read whole.
func (f *watchedFile) read() (content []byte, changed bool, err error) {
	file, err := os.Open(f.path)
	if err != nil {
		f.seen = nil // what comes in its place is new
		return nil, true, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, true, err
	}
	if f.seen != nil && os.SameFile(f.seen, info) && f.seen.ModTime().Equal(info.ModTime()) && f.seen.Size() == info.Size() {
		return nil, false, nil
	}
	f.seen = nil
	content, err = io.ReadAll(io.LimitReader(file, f.most+1))
	if err != nil {
		return nil, true, fmt.Errorf("read %s: %w", f.path, err)
	}
	if int64(len(content)) > f.most {
		return nil, true, fmt.Errorf("%s: it has more than %d bytes", f.path, f.most)
	}
	f.seen = info
	return content, true, nil
}
