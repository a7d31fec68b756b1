package plugintest

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// disk is a folder as a disk has it: what was synced, and what the system still holds, of which a loss of power leaves any part.
//
// It is as kind as the file systems that people use (ext4, XFS, Btrfs): names change in order, and a sync of a file or folder has all names
// on the disk up to the last one that is about it. What was written to a file and not synced may be there or not, page by page, in any order.
type disk struct {
	root    string
	names   map[string]*inode // as the process sees them; of a folder the inode is one, too
	changes []nameChange
	kept    int // changes that are on the disk
	open    map[int64]*openFile
	mapped  map[string]bool // files that are written by memory, too
}

// page is what is written whole or not at all.
const page = 4096

// inode is a file, or a folder.
type inode struct {
	folder  bool
	content []byte // on the disk
	size    int64  // as the process sees it
	waiting []change
}

// change is data at an offset, or, without them, a new size.
type change struct {
	at   int64
	data []byte
	size int64
	end  int64 // of the call
}

// nameChange gives an inode another name, a first one (no from) or none (no to).
type nameChange struct {
	from, to string
	inode    *inode
	end      int64
}

// openFile is what a descriptor is of. Copies of the descriptor share it.
type openFile struct {
	path           string // its last one
	inode          *inode
	at             int64
	appends, syncs bool
}

// unseen is what a process may do to files without anybody seeing it from here.
type unseen struct{ what string }

func (e *unseen) Error() string { return e.what }

// newDisk is a disk with what is in root now.
func newDisk(root string) (*disk, error) {
	d := &disk{root: root, names: map[string]*inode{}, open: map[int64]*openFile{}, mapped: map[string]bool{}}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		n := &inode{folder: entry.IsDir()}
		if !n.folder {
			if n.content, err = os.ReadFile(path); err != nil {
				return err
			}
			n.size = int64(len(n.content))
		}
		d.rename("", path, n, 0)
		return nil
	})
	d.kept = len(d.changes)
	return d, err
}

func (d *disk) inside(path string) bool { return strings.HasPrefix(path, d.root+"/") }

// rename changes names as the process sees them.
func (d *disk) rename(from, to string, n *inode, end int64) {
	if n == nil {
		return
	}
	moveName(d.names, from, to, n)
	d.changes = append(d.changes, nameChange{from, to, n, end})
}

func moveName(names map[string]*inode, from, to string, n *inode) {
	if from != "" {
		delete(names, from)
	}
	if n.folder && from != "" && to != "" {
		for _, path := range slices.Collect(maps.Keys(names)) {
			if rest, below := strings.CutPrefix(path, from+"/"); below {
				names[to+"/"+rest] = names[path]
				delete(names, path)
			}
		}
	}
	if to != "" {
		names[to] = n
	}
}

// resize is a change of the size alone.
func (d *disk) resize(n *inode, size, end int64) {
	if n == nil || size == n.size {
		return
	}
	n.size = size
	n.waiting = append(n.waiting, change{size: size, end: end})
}

// write is data, page by page.
func (d *disk) write(n *inode, at int64, data []byte, end int64) {
	if n == nil {
		return
	}
	n.size = max(n.size, at+int64(len(data)))
	for len(data) > 0 {
		k := min(int64(len(data)), page-at%page)
		n.waiting = append(n.waiting, change{at: at, data: data[:k:k], end: end})
		at, data = at+k, data[k:]
	}
}

// sync has on the disk what was done to n before start, and its names.
func (d *disk) sync(n *inode, path string, start int64) {
	if n == nil {
		return
	}
	i := 0
	for ; i < len(n.waiting) && n.waiting[i].end <= start; i++ {
		n.content = n.waiting[i].do(n.content)
	}
	n.waiting = n.waiting[i:]
	for i := len(d.changes); i > d.kept; i-- {
		c := &d.changes[i-1]
		if c.end <= start && (c.inode == n || n.folder && (filepath.Dir(c.from) == path || filepath.Dir(c.to) == path)) {
			d.kept = i
			return
		}
	}
}

// syncAll is what sync and syncfs do.
func (d *disk) syncAll(start int64) {
	for _, c := range d.changes {
		d.sync(c.inode, "", start)
	}
	for d.kept < len(d.changes) && d.changes[d.kept].end <= start {
		d.kept++
	}
}

func (c *change) do(content []byte) []byte {
	size := c.size
	if c.data != nil {
		size = max(int64(len(content)), c.at+int64(len(c.data)))
	}
	if size <= int64(len(content)) {
		clear(content[size:])
		content = content[:size]
	} else {
		content = append(content, make([]byte, size-int64(len(content)))...)
	}
	copy(content[c.at:], c.data)
	return content
}

// luck says what of what was not synced a loss of power leaves.
type luck string

const (
	lostAll  luck = "nothing that was not synced is left"
	lostData luck = "names are left, and no data that were not synced"
	lostPage luck = "all is left but one page that was not synced"
	lostSome luck = "any of what was not synced is left"
)

// cut writes into a new folder what a loss of power leaves.
func (d *disk) cut(to string, l luck) error {
	kept := d.kept
	switch l {
	case lostData, lostPage:
		kept = len(d.changes)
	case lostSome:
		kept += rand.IntN(len(d.changes) - d.kept + 1)
	case lostAll:
	}
	left := map[string]*inode{}
	for i := range d.changes[:kept] {
		c := &d.changes[i]
		moveName(left, c.from, c.to, c.inode)
	}
	for _, path := range slices.Sorted(maps.Keys(left)) {
		n := left[path]
		target := to + strings.TrimPrefix(path, d.root)
		var err error
		if n.folder {
			err = os.MkdirAll(target, 0o700)
		} else if err = os.MkdirAll(filepath.Dir(target), 0o700); err == nil {
			err = os.WriteFile(target, n.after(l), 0o600)
		}
		if err != nil {
			return fmt.Errorf("make the folder of after the cut: %w", err)
		}
	}
	return nil
}

// after is the content that a loss of power leaves.
func (n *inode) after(l luck) []byte {
	content := slices.Clone(n.content)
	lost := -1
	if l == lostPage && len(n.waiting) > 0 {
		lost = len(n.waiting) - 1 - rand.IntN(min(len(n.waiting), 4)) // of what was written last
	}
	for i := range n.waiting {
		if l == lostPage && i != lost || l == lostSome && rand.IntN(2) == 0 {
			content = n.waiting[i].do(content)
		}
	}
	return content
}
