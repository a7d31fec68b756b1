package plugintest

import (
	"path/filepath"
	"strings"
)

// do has c happen to the disk. An *unseen is the end of what can be known.
func (d *disk) do(c *call, cwd *string) error {
	switch c.name {
	case "open", "openat", "creat":
		d.doOpen(c, cwd)
	case "write", "writev", "pwrite64", "pwritev", "pwritev2":
		return d.doWrite(c)
	case "read", "readv":
		if f := d.open[c.number(0)]; f != nil {
			f.at += parseNumber(c.result)
		}
	case "lseek":
		if f := d.file(c); f != nil {
			f.at = parseNumber(c.result)
		}
	case "ftruncate":
		if f := d.file(c); f != nil {
			d.resize(f.inode, c.number(1), c.end)
		}
	case "truncate":
		d.resize(d.names[resolve(*cwd, "", c.arg(0))], c.number(1), c.end)
	case "fallocate":
		return d.doAllocate(c)
	case "fsync", "fdatasync":
		return d.doSync(c)
	case "sync", "syncfs":
		d.syncAll(c.start)
	case "dup", "dup2", "dup3", "fcntl":
		d.doCopy(c)
	default:
		return d.doNames(c, cwd)
	}
	return nil
}

// file is what the first argument is a descriptor of; nil if that is nothing in the folder.
func (d *disk) file(c *call) *openFile {
	fd, path := fdOf(c.arg(0))
	f := d.open[fd]
	switch n := d.names[path]; {
	case path == "": // a name that is gone, of a file that is not
	case !d.inside(path):
		return nil
	case f == nil || f.inode != n:
		f = &openFile{path: path, inode: n}
		d.open[fd] = f
	default:
		f.path = path // it may have been renamed
	}
	if f == nil || f.inode == nil {
		return nil
	}
	return f
}

func resolve(cwd, folder, text string) string {
	path := unhex(strings.Trim(text, `"`))
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	if folder == "" {
		folder = cwd
	}
	return filepath.Join(folder, path)
}

func (d *disk) doOpen(c *call, cwd *string) {
	flags := c.arg(1)
	switch c.name {
	case "creat":
		flags = "O_CREAT|O_TRUNC"
	case "openat":
		flags = c.arg(2)
		if folder, path := fdOf(c.arg(0)); folder < 0 && path != "" {
			*cwd = path
		}
	}
	fd, path := fdOf(c.result)
	if !d.inside(path) {
		delete(d.open, fd)
		return
	}
	has := func(flag string) bool { return strings.Contains(flags, flag) }
	n := d.names[path]
	if n == nil && has("O_CREAT") {
		n = &inode{}
		d.rename("", path, n, c.end)
	} else if has("O_TRUNC") {
		d.resize(n, 0, c.end)
	}
	d.open[fd] = &openFile{path: path, inode: n, appends: has("O_APPEND"), syncs: has("O_SYNC") || has("O_DSYNC")}
}

func (d *disk) doWrite(c *call) error {
	f := d.file(c)
	if f == nil {
		return nil
	}
	data, err := c.data(1)
	if err != nil {
		return &unseen{err.Error()}
	}
	n := f.inode
	switch {
	case strings.HasPrefix(c.name, "pwrite"):
		d.write(n, c.number(3), data, c.end)
	case f.appends:
		d.write(n, n.size, data, c.end)
	default:
		d.write(n, f.at, data, c.end)
		f.at += int64(len(data))
	}
	if f.syncs || strings.Contains(c.arg(4), "SYNC") {
		d.sync(n, f.path, c.end)
	}
	return nil
}

func (d *disk) doSync(c *call) error {
	if _, path := fdOf(c.arg(0)); path == d.root {
		d.sync(&inode{folder: true}, path, c.start)
		return nil
	}
	f := d.file(c)
	if f == nil {
		return nil
	}
	if d.mapped[f.path] {
		return writesMapped(f.path)
	}
	d.sync(f.inode, f.path, c.start)
	return nil
}

func (d *disk) doAllocate(c *call) error {
	f := d.file(c)
	if f == nil {
		return nil
	}
	n := f.inode
	switch mode := c.arg(1); {
	case strings.HasPrefix(mode, "FALLOC_FL_KEEP_SIZE") && !strings.Contains(mode, "|"):
	case mode == "0":
		d.resize(n, max(n.size, c.number(2)+c.number(3)), c.end)
	default:
		return &unseen{"it calls fallocate with " + mode}
	}
	return nil
}

func (d *disk) doCopy(c *call) {
	if c.name == "fcntl" && !strings.HasPrefix(c.arg(1), "F_DUPFD") {
		return
	}
	if f := d.file(c); f != nil {
		fd, _ := fdOf(c.result)
		d.open[fd] = f
	}
}

// doNames are the calls that change names, and those that change files in a way that is not seen here.
func (d *disk) doNames(c *call, cwd *string) error {
	at := func(folder, name int) string {
		_, path := fdOf(c.arg(folder))
		return resolve(*cwd, path, c.arg(name))
	}
	path := func(i int) string { return resolve(*cwd, "", c.arg(i)) }
	from, to := "", ""
	switch c.name {
	case "rename":
		from, to = path(0), path(1)
	case "renameat", "renameat2":
		from, to = at(0, 1), at(2, 3)
	case "unlink", "rmdir":
		from = path(0)
	case "unlinkat":
		from = at(0, 1)
	case "mkdir":
		to = path(0)
	case "mkdirat":
		to = at(0, 1)
	case "link":
		return d.doLink(path(0), path(1), c)
	case "linkat":
		return d.doLink(at(0, 1), at(2, 3), c)
	default:
		return d.unseenBy(c)
	}
	n := d.names[from]
	if strings.HasPrefix(c.name, "mkdir") {
		n = &inode{folder: true}
	}
	switch {
	case d.inside(from) && to != "" && !d.inside(to):
		d.rename(from, "", n, c.end)
	case !d.inside(from) && from != "" && d.inside(to):
		return &unseen{"it moves files into its folder from elsewhere"}
	case d.inside(from) || d.inside(to):
		d.rename(from, to, n, c.end)
	}
	return nil
}

// doLink gives a file one more name.
func (d *disk) doLink(from, to string, c *call) error {
	switch n := d.names[from]; {
	case !d.inside(to):
	case n == nil:
		return &unseen{"it calls " + c.name + " for a file from elsewhere"}
	default:
		d.rename("", to, n, c.end)
	}
	return nil
}

func (d *disk) unseenBy(c *call) error {
	if c.name == "io_uring_setup" || c.name == "io_submit" {
		return &unseen{"it uses " + c.name + ", which does not show what it writes"}
	}
	touches := false
	for _, arg := range c.args {
		_, path := fdOf(arg)
		touches = touches || d.inside(path) || d.inside(unhex(strings.Trim(arg, `"`)))
	}
	switch {
	case c.name == "msync":
		for path := range d.mapped {
			return writesMapped(path)
		}
	case c.name == "mmap":
		if strings.Contains(c.arg(2), "PROT_WRITE") && strings.HasPrefix(c.arg(3), "MAP_SHARED") && touches {
			_, path := fdOf(c.arg(4))
			d.mapped[path] = true
		}
	case touches:
		return &unseen{"it calls " + c.name + " for a file in its folder"}
	}
	return nil
}

func writesMapped(path string) error {
	return &unseen{"it writes to " + filepath.Base(path) + " by memory that is mapped"}
}
