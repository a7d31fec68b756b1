package plugintest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	gotest "testing" // the package has a testing of its own
)

// hexed is a text as strace -xx prints it.
func hexed(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, `\x%02x`, text[i])
	}
	return b.String()
}

// traceOf fills in: <name> is a path behind a descriptor, 'name' one in quotes, "text" a text.
func traceOf(root, script string) []byte {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(script)) {
		line = strings.TrimSpace(line)
		for _, path := range []string{"root", "log", "new", "sub", "sub/x", "other"} {
			whole := filepath.Join(root, strings.TrimPrefix(path, "root"))
			line = strings.ReplaceAll(line, "<"+path+">", "<"+hexed(whole)+">")
			line = strings.ReplaceAll(line, "'"+path+"'", `"`+hexed(whole)+`"`)
		}
		for _, text := range []string{"one", "two", "three"} {
			line = strings.ReplaceAll(line, `"`+text+`"`, `"`+hexed(text)+`"`)
		}
		b.WriteString(line + "\n")
	}
	return []byte(b.String())
}

func TestALossOfPowerLeavesWhatWasSynced(t *gotest.T) {
	for name, one := range map[string]struct {
		script string
		luck   luck
		want   string // name=content
	}{
		"what was not synced is lost": {`
			1 openat(AT_FDCWD<root>, 'log', O_RDWR|O_CREAT, 0600) = 7<log>
			1 write(7<log>, "one", 3) = 3
			1 fdatasync(7<log>) = 0
			1 write(7<log>, "two", 3) = 3`, lostAll, "log=one"},
		"a sync is about what was written before it began": {`
			1 openat(AT_FDCWD<root>, 'log', O_RDWR|O_CREAT, 0600) = 7<log>
			2 fsync(7<log> <unfinished ...>
			1 pwrite64(7<log>, "one", 3, 0) = 3
			2 <... fsync resumed>) = 0`, lostAll, "log="},
		"a sync that fails is none": {`
			1 openat(AT_FDCWD<root>, 'log', O_RDWR|O_CREAT, 0600) = 7<log>
			1 fsync(7<log>) = 0
			1 write(7<log>, "one", 3) = 3
			1 fsync(7<log>) = -1 EIO (Input/output error) (INJECTED)`, lostAll, "log="},
		"a file without a synced name is not there": {`
			1 openat(AT_FDCWD<root>, 'log', O_RDWR|O_CREAT, 0600) = 7<log>
			1 write(7<log>, "one", 3) = 3`, lostAll, ""},
		"data that were not synced are not behind a name that is left": {`
			1 openat(AT_FDCWD<root>, 'new', O_RDWR|O_CREAT, 0600) = 7<new>
			1 write(7<new>, "one", 3) = 3
			1 rename('new', 'log') = 0
			1 fsync(3<root>) = 0`, lostData, "log="},
		"names change in order": {`
			1 mkdir('sub', 0700) = 0
			1 openat(AT_FDCWD<root>, 'sub/x', O_WRONLY|O_CREAT|O_APPEND, 0600) = 7<sub/x>
			1 writev(7<sub/x>, [{iov_base="one", iov_len=3}, {iov_base="two", iov_len=3}], 2) = 6
			1 write(7<sub/x>, "three", 5) = 3
			1 fsync(7<sub/x>) = 0
			1 unlink('sub/x') = 0`, lostAll, "sub/x=onetwothr"},
		"a name more is the same file": {`
			1 openat(AT_FDCWD<root>, 'new', O_RDWR|O_CREAT, 0600) = 7<new>
			1 linkat(AT_FDCWD<root>, 'new', AT_FDCWD<root>, 'log', 0) = 0
			1 unlinkat(AT_FDCWD<root>, 'new', 0) = 0
			1 write(7<new>(deleted), "one", 3) = 3
			1 fsync(7<new>(deleted)) = 0
			1 fsync(3<root>) = 0`, lostAll, "log=one"},
		"a descriptor stands where it was read and set to": {`
			1 openat(AT_FDCWD<root>, 'log', O_RDWR|O_CREAT, 0600) = 7<log>
			1 write(7<log>, "three", 5) = 5
			1 lseek(7<log>, 0, SEEK_SET) = 0
			1 read(0x7, 0xc000, 0x1) = 0x1
			1 write(7<log>, "one", 3) = 3
			1 ftruncate(7<log>, 4) = 0
			1 fsync(7<log>) = 0`, lostAll, "log=tone"},
		"a file that is opened with O_DSYNC is synced by each write": {`
			1 openat(AT_FDCWD<root>, 'log', O_RDWR|O_CREAT|O_DSYNC, 0600) = 7<log>
			1 write(7<log>, "one", 3) = 3`, lostAll, "log=one"},
	} {
		t.Run(name, func(t *gotest.T) {
			root, left := t.TempDir(), t.TempDir()
			d, err := newDisk(root)
			if err != nil {
				t.Fatal(err)
			}
			cwd := "/"
			for _, c := range parseTrace(traceOf(root, one.script)) {
				if err := d.do(&c, &cwd); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.cut(left, one.luck); err != nil {
				t.Fatal(err)
			}
			if got := filesIn(t, left); got != one.want {
				t.Errorf("left is %q, want %q", got, one.want)
			}
		})
	}
}

// filesIn is name=content of each file.
func filesIn(t *gotest.T, root string) string {
	t.Helper()
	var all []string
	for _, name := range []string{"log", "new", "sub/x"} {
		if content, err := os.ReadFile(filepath.Join(root, name)); err == nil {
			all = append(all, name+"="+string(content))
		}
	}
	return strings.Join(all, " ")
}

func TestALossOfPowerLeavesAnyPages(t *gotest.T) {
	n := &inode{}
	d := &disk{}
	d.write(n, 10, []byte(strings.Repeat("x", 3*page)), 1)
	holes := map[int]bool{}
	for range 100 {
		content := n.after(lostPage)
		holes[strings.Count(string(content), "x")] = true
	}
	if len(holes) < 2 || holes[3*page] || holes[0] {
		t.Errorf("of 4 pages one is lost: left are %v bytes", holes)
	}
	seen := map[string]bool{}
	for range 200 {
		seen[string(n.after(lostSome))] = true
	}
	if len(seen) != 16 {
		t.Errorf("any of 4 pages may be left, which is 16 contents, got %d", len(seen))
	}
}

func TestWhatAProcessWritesWithoutACallIsKnownNotToBeSeen(t *gotest.T) {
	for _, script := range []string{
		"1 io_uring_setup(8, {flags=0}) = 5",
		"1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 7<log>, 0) = 0x7f00\n1 msync(0x7f00, 4096, MS_SYNC) = 0",
		"1 openat(AT_FDCWD<root>, 'log', O_RDWR|O_CREAT, 0600) = 7<log>\n1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 7<log>, 0) = 0x7f00\n1 fsync(7<log>) = 0",
		"1 copy_file_range(7<other>, NULL, 8<log>, NULL, 100, 0) = 100",
		"1 symlink('other', 'log') = 0",
		`1 openat(AT_FDCWD<root>, 'log', O_RDWR|O_CREAT, 0600) = 7<log>` + "\n" + `1 write(7<log>, "one"..., 100) = 100`,
	} {
		root := t.TempDir()
		d, err := newDisk(root)
		cwd := "/"
		for _, c := range parseTrace(traceOf(root, script)) {
			if err == nil {
				err = d.do(&c, &cwd)
			}
		}
		if _, ok := err.(*unseen); !ok { //nolint:errorlint // it is never wrapped
			t.Errorf("%s: %v", script, err)
		}
	}
}
