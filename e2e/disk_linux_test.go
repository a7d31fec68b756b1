package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-mq/carillon/internal/require"
)

// disk is an ext4 file system of its own, in an image file, whose power can be cut.
type disk struct {
	t     *testing.T
	image string
	mount string
}

// newDisk makes and mounts one. The test is skipped where that is not possible.
func newDisk(t *testing.T) *disk {
	t.Helper()
	require.Root(t)
	mkfs := require.Program(t, "ext4", "mkfs.ext4")
	dir := t.TempDir()
	d := &disk{t: t, image: filepath.Join(dir, "disk.img"), mount: filepath.Join(dir, "disk")}
	if err := os.Mkdir(d.mount, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(512 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	d.run(mkfs, "-q", "-F", d.image)
	out, err := exec.Command("mount", "-o", "loop", d.image, d.mount).CombinedOutput()
	require.That(t, "loop", err == nil, fmt.Sprintf("no image can be mounted here: %v: %s", err, out))
	t.Cleanup(func() {
		if mounted(d.mount) {
			d.unmount()
		}
	})
	return d
}

func (d *disk) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// unmount waits for the last process that has a file open there.
func (d *disk) unmount() {
	d.t.Helper()
	eventually(d.t, 10*time.Second, "the disk is not in use", func() bool { return unix.Unmount(d.mount, 0) == nil })
}

// Ioctl EXT4_IOC_SHUTDOWN, with the flag that drops what is not on the disk yet, the journal included.
const (
	ioctlShutdown = 0x8004587d
	noLogFlush    = 2
)

// cutPower makes the file system lose everything that was not synced, and fail from then on. It refuses any other file system than
// the disk's own.
func (d *disk) cutPower() {
	d.t.Helper()
	if backing := backingFile(d.mount); backing != d.image {
		d.t.Fatalf("refusing to cut the power of %s: it is on %q, not on %s", d.mount, backing, d.image)
	}
	f, err := os.Open(d.mount)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ioctlShutdown, noLogFlush); err != nil {
		d.t.Fatalf("cut the power of %s: %v", d.mount, err)
	}
}

// powerUp mounts the disk again, when nothing has it open any more.
func (d *disk) powerUp() {
	d.t.Helper()
	d.unmount()
	d.run("mount", "-o", "loop", d.image, d.mount)
}

// backingFile is the image that the loop device mounted at path shows, "" if something else is mounted there or nothing.
func backingFile(path string) string {
	for _, fields := range mounts() {
		dash := slices.Index(fields, "-")
		if len(fields) < 5 || fields[4] != path || dash < 0 || len(fields) < dash+3 {
			continue
		}
		device, ok := strings.CutPrefix(fields[dash+2], "/dev/loop")
		if !ok {
			return ""
		}
		b, err := os.ReadFile("/sys/block/loop" + device + "/loop/backing_file")
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	return ""
}

func mounted(path string) bool {
	return slices.ContainsFunc(mounts(), func(fields []string) bool { return len(fields) > 4 && fields[4] == path })
}

// mounts are the lines of mountinfo(5), split: field 4 is the mount point, and behind "-" come the type and the device.
func mounts() [][]string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var out [][]string
	for line := range strings.Lines(string(b)) {
		out = append(out, strings.Fields(line))
	}
	return out
}

func TestOnlyItsOwnDiskLosesPower(t *testing.T) {
	for _, path := range []string{"/", t.TempDir(), "/proc"} {
		if backing := backingFile(path); backing != "" {
			t.Errorf("%s: found backing file %q, wanted none", path, backing)
		}
	}
	d := newDisk(t)
	if backing := backingFile(d.mount); backing != d.image {
		t.Errorf("found backing file %q, wanted %s", backing, d.image)
	}
	if err := os.WriteFile(filepath.Join(d.mount, "unsynced"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.cutPower()
	if err := os.WriteFile(filepath.Join(d.mount, "late"), []byte("x"), 0o600); err == nil {
		t.Error("a disk without power took a file")
	}
	d.powerUp()
	if left, _ := filepath.Glob(filepath.Join(d.mount, "*e*")); len(left) > 0 && !slices.Equal(left, []string{filepath.Join(d.mount, "lost+found")}) {
		t.Errorf("found %q after the power was cut, wanted nothing that was not synced", left)
	}
}
