package host

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// image is an executable that is about to be started.
type image struct {
	name  string // for people
	path  string // what is executed
	args  []string
	files []*os.File // descriptors 3, 4, … of the process
}

// openImage finds the executable of a plugin and checks its sum, if it has one. The bytes that were checked are those that run,
// whatever happens to the file's name meanwhile: Linux executes the opened file. A wrong sum is a permanentError.
func openImage(ctx context.Context, s *Spec) (*image, error) {
	if s.Path == "" {
		path, err := ownExecutable()
		if err != nil {
			return nil, err
		}
		args := s.Args
		if args == nil {
			args = []string{"plugin-serve", s.Name}
		}
		return &image{name: path, path: path, args: append([]string{path}, args...)}, nil
	}
	path, err := filepath.Abs(s.Path)
	if err != nil {
		return nil, err
	}
	i := &image{name: path, path: path, args: append([]string{path}, s.Args...)}
	if s.SHA256 == "" {
		return i, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s %w: %w", path, errSpawn, err)
	}
	if err := checkSum(ctx, file, s.SHA256); err != nil {
		file.Close()
		return nil, err
	}
	i.executeOpened(file)
	return i, nil
}

func (i *image) close() {
	for _, f := range i.files {
		f.Close()
	}
}

func validSum(sum string) bool {
	b, err := hex.DecodeString(sum)
	return err == nil && len(b) == sha256.Size
}

// checkSum compares the sum of an open file with the wanted one, in hex.
func checkSum(ctx context.Context, file *os.File, wanted string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return permanent(fmt.Errorf("%s is not a file", file.Name()))
	}
	if anybodyMayWrite(info) {
		return permanent(fmt.Errorf("%s may be written by everybody on this machine: chmod o-w it", file.Name()))
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, untilDone{ctx, file}); err != nil {
		return fmt.Errorf("read %s: %w", file.Name(), err)
	}
	want, err := hex.DecodeString(wanted)
	if err != nil {
		return permanent(err)
	}
	if got := hash.Sum(nil); subtle.ConstantTimeCompare(got, want) != 1 {
		return permanent(fmt.Errorf("%s has the sha256 %x, the configuration wants %x: it is not run", file.Name(), got, want))
	}
	return nil
}

// untilDone reads r until ctx ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}
