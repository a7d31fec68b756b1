package storebolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
)

// bbolt's file, in the byte order of the machine: pages of one size, each with a header {id 8, flags 2, count 2, overflow
// 4}; pages 0 and 1 are two alternating head pages (meta), of which the valid one with the higher transaction counts.
const (
	pageHeader  = 16
	pageBranch  = 0x01
	pageLeaf    = 0x02
	pageFree    = 0x10
	elementSize = 16 // branch {pos 4, key 4, page 8}; leaf {flags 4, pos 4, key 4, value 4}
	leafBucket  = 0x01

	headSize    = 64 // {magic 4, version 4, page size 4, flags 4, root 8, sequence 8, freelist 8, pages 8, transaction 8, checksum 8}
	headMagic   = 0xED0CDAED
	headVersion = 2
	noFreelist  = ^uint64(0)

	bucketHeader = 16 // {root 8, sequence 8}; root 0: the bucket's one page follows
	maxDepth     = 64
)

var order = binary.NativeEndian

// checkFile verifies that every page that can be reached in the file at path is where, and shaped as, bbolt expects. The
// records themselves carry their own checksums and are not looked at. It holds bbolt's shared lock meanwhile and writes
// nothing. warning tells of a damaged head page while the other one is good: the last commit may be missing.
func checkFile(path string) (warning string, err error) {
	db, f, err := boltOpen(path, &bolt.Options{ReadOnly: true, Timeout: lockTimeout, NoStatistics: true})
	if err != nil {
		return "", err
	}
	c := checker{file: f}
	if err := errors.Join(c.check(), db.Close()); err != nil {
		return "", repairHint(path, err)
	}
	return c.warning, nil
}

type checker struct {
	file     *os.File
	pageSize int64
	pages    uint64 // number of pages in use or free: all ids are below
	seen     []bool // by page id
	spare    [][]byte
	warning  string
}

// head is a bbolt head page.
type head struct {
	pageSize    uint32
	root        uint64
	freelist    uint64
	pages       uint64
	transaction uint64
}

func (c *checker) check() error {
	h, err := c.readHeads()
	if err != nil {
		return err
	}
	info, err := c.file.Stat()
	if err != nil {
		return err
	}
	c.pageSize, c.pages = int64(h.pageSize), h.pages
	if h.pages < 2 || h.pages > uint64(info.Size()/c.pageSize) {
		return damaged("it is cut short: %d bytes, but %d pages of %d", info.Size(), h.pages, c.pageSize)
	}
	c.seen = make([]bool, h.pages)
	c.seen[0], c.seen[1] = true, true
	if err := c.tree(h.root, nil, nil, 0); err != nil {
		return err
	}
	if h.freelist != noFreelist {
		return c.freelist(h.freelist)
	}
	return nil
}

// readHeads returns the head page that counts. The second one is found at the size of a page, which the first one knows;
// if it is damaged, at some power of two.
func (c *checker) readHeads() (head, error) {
	first, err0 := c.readHead(0)
	if err0 == nil {
		second, err1 := c.readHead(int64(first.pageSize))
		if err1 != nil {
			c.warning = "page 1: " + err1.Error()
		} else if second.transaction > first.transaction {
			return second, nil
		}
		return first, nil
	}
	for at := int64(1024); at <= 64<<10; at *= 2 {
		if second, err := c.readHead(at); err == nil && int64(second.pageSize) == at {
			c.warning = "page 0: " + err0.Error()
			return second, nil
		}
	}
	return head{}, fmt.Errorf("page 0: %w", err0)
}

func (c *checker) readHead(at int64) (head, error) {
	b := make([]byte, pageHeader+headSize)
	if _, err := c.file.ReadAt(b, at); err != nil {
		return head{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	b = b[pageHeader:]
	sum := fnv.New64a()
	sum.Write(b[:headSize-8])
	h := head{
		pageSize: order.Uint32(b[8:]), root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]),
		pages: order.Uint64(b[40:]), transaction: order.Uint64(b[48:]),
	}
	switch {
	case order.Uint32(b) != headMagic:
		return head{}, damaged("this is no store")
	case order.Uint32(b[4:]) != headVersion:
		return head{}, damaged("unknown version %d", order.Uint32(b[4:]))
	case order.Uint64(b[56:]) != sum.Sum64():
		return head{}, damaged("checksum mismatch")
	case h.pageSize < 1024 || h.pageSize > 64<<10 || h.pageSize&(h.pageSize-1) != 0:
		return head{}, damaged("page size %d", h.pageSize)
	}
	return h, nil
}

// tree checks the pages from id down. Their keys have to be at least low and below high (nil: no bound).
func (c *checker) tree(id uint64, low, high []byte, depth int) error {
	if depth > maxDepth {
		return damaged("page %d: deeper than %d levels", id, maxDepth)
	}
	p, err := c.page(id)
	if err != nil {
		return err
	}
	switch p.flags {
	case pageBranch:
		return c.branch(p, low, high, depth)
	case pageLeaf:
		err := c.leaf(p, low, high, depth)
		c.done(p)
		return err
	}
	return damaged("page %d: neither branch nor leaf", id)
}

func (c *checker) branch(p page, low, high []byte, depth int) error {
	if p.count == 0 {
		return damaged("page %d: a branch without children", p.id)
	}
	keys := make([][]byte, p.count)
	for i := range keys {
		e := p.element(i)
		key, ok := p.slice(i, order.Uint32(e), order.Uint32(e[4:]), 0)
		if !ok || !inOrder(keys, i, key, low, high) {
			return damaged("page %d: key %d is out of place", p.id, i)
		}
		keys[i] = key
	}
	for i, key := range keys {
		end := high
		if i+1 < len(keys) {
			end = keys[i+1]
		}
		if err := c.tree(order.Uint64(p.element(i)[8:]), key, end, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) leaf(p page, low, high []byte, depth int) error {
	keys := make([][]byte, p.count)
	for i := range keys {
		e := p.element(i)
		flags, pos, ksize, vsize := order.Uint32(e), order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
		both, ok := p.slice(i, pos, ksize, vsize)
		if !ok || flags > leafBucket || ksize == 0 || !inOrder(keys, i, both[:ksize], low, high) {
			return damaged("page %d: entry %d is out of place", p.id, i)
		}
		keys[i] = both[:ksize]
		if flags == leafBucket {
			if err := c.bucket(p, both[ksize:], depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// bucket checks the bucket whose entry, on p, is v.
func (c *checker) bucket(p page, v []byte, depth int) error {
	if len(v) < bucketHeader {
		return damaged("page %d: an entry is no bucket", p.id)
	}
	if root := order.Uint64(v); root != 0 {
		return c.tree(root, nil, nil, depth+1)
	}
	inline := pageIn(v[bucketHeader:], p.id)
	if inline.flags != pageLeaf || inline.id != p.id || pageHeader+int(inline.count)*elementSize > len(inline.data) {
		return damaged("page %d: a small bucket is malformed", p.id)
	}
	return c.leaf(inline, nil, nil, depth+1)
}

// freelist checks the page with the ids of free pages, which this store does not write, but bbolt's own tool does.
func (c *checker) freelist(id uint64) error {
	p, err := c.page(id)
	if err != nil {
		return err
	}
	ids := p.data[min(pageHeader, len(p.data)):]
	count := uint64(p.count)
	if count == 0xFFFF && len(ids) >= 8 {
		count, ids = order.Uint64(ids), ids[8:]
	}
	if p.flags != pageFree || count > uint64(len(ids)/8) {
		return damaged("page %d: no list of free pages", id)
	}
	for i := range count {
		free := order.Uint64(ids[8*i:])
		if free >= c.pages || c.seen[free] {
			return damaged("page %d is free and in use", free)
		}
		c.seen[free] = true
	}
	return nil
}

// page reads page id with its overflow, and marks it as used.
func (c *checker) page(id uint64) (page, error) {
	if id < 2 || id >= c.pages {
		return page{}, damaged("a page %d does not exist", id)
	}
	data := c.buffer()
	if _, err := io.ReadFull(io.NewSectionReader(c.file, int64(id)*c.pageSize, c.pageSize), data); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	p := pageIn(data, 0)
	if p.id != id || uint64(p.overflow) >= c.pages-id {
		return page{}, damaged("page %d: its header is wrong", id)
	}
	for i := id; i <= id+uint64(p.overflow); i++ {
		if c.seen[i] {
			return page{}, damaged("page %d is used twice", i)
		}
		c.seen[i] = true
	}
	p.size = int(c.pageSize) * (int(p.overflow) + 1)
	if p.overflow > 0 && (p.flags != pageLeaf || p.count > 1) { // of a single large value only the beginning is looked at
		whole := make([]byte, p.size)
		if _, err := io.ReadFull(io.NewSectionReader(c.file, int64(id)*c.pageSize, int64(len(whole))), whole); err != nil {
			return page{}, fmt.Errorf("page %d: %w", id, err)
		}
		p.data = whole
	}
	if p.flags != pageFree && pageHeader+int(p.count)*elementSize > len(p.data) {
		return page{}, damaged("page %d: %d entries don't fit", id, p.count)
	}
	return p, nil
}

// buffer returns room for a page, used again if there is some.
func (c *checker) buffer() []byte {
	if n := len(c.spare); n > 0 {
		b := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return b
	}
	return make([]byte, c.pageSize)
}

// done gives the room of p back, of which nothing is used anymore.
func (c *checker) done(p page) {
	if int64(len(p.data)) == c.pageSize {
		c.spare = append(c.spare, p.data)
	}
}

// page is one page and its overflow.
type page struct {
	id       uint64
	flags    uint16
	count    uint16
	overflow uint32
	size     int    // with its overflow
	data     []byte // all of it, or its first page
}

// pageIn reads b's header. The page of a small bucket has no id of its own, and is given the one it is on.
func pageIn(b []byte, on uint64) page {
	if len(b) < pageHeader {
		return page{}
	}
	p := page{id: order.Uint64(b), flags: order.Uint16(b[8:]), count: order.Uint16(b[10:]), overflow: order.Uint32(b[12:]), size: len(b), data: b}
	if p.id == 0 {
		p.id = on
	}
	return p
}

func (p page) element(i int) []byte {
	return p.data[pageHeader+i*elementSize:][:elementSize]
}

// slice returns the ksize+vsize bytes that begin pos bytes after element i, or what of them has been read: at least ksize.
// They have to lie within the page, behind the elements.
func (p page) slice(i int, pos, ksize, vsize uint32) ([]byte, bool) {
	from := uint64(pageHeader) + uint64(i)*elementSize + uint64(pos)
	to := from + uint64(ksize) + uint64(vsize)
	if from < uint64(pageHeader)+uint64(p.count)*elementSize || to > uint64(p.size) || from+uint64(ksize) > uint64(len(p.data)) {
		return nil, false
	}
	return p.data[from:min(to, uint64(len(p.data)))], true
}

// inOrder reports whether key may stand at place i after keys[:i], at or above low and below high.
func inOrder(keys [][]byte, i int, key, low, high []byte) bool {
	switch {
	case i > 0 && bytes.Compare(keys[i-1], key) >= 0:
		return false
	case low != nil && bytes.Compare(key, low) < 0:
		return false
	case high != nil && bytes.Compare(key, high) >= 0:
		return false
	}
	return true
}

func damaged(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, a...)...)
}
