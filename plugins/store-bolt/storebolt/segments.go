package storebolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
)

// A segment ends at so many bytes, so that freezing it takes milliseconds, and at so long a time, so that stamps fit an entry.
const (
	segmentBytes = 1 << 20
	segmentSpan  = 365 * 24 * 3600 * 1000 // milliseconds
)

// segment is one bucket of the log, as the index knows it: what it holds of the offsets from first up to next. Lock: index.mu.
type segment struct {
	first   uint64 // the bucket's key
	next    uint64
	bytes   int64 // what its records are charged, see logCost
	frozen  bool
	damaged bool // one of its records could not be read when the file was opened
	victim  bool // it is among index.victims
	stuck   bool // it can't be rewritten: it holds a damaged record. The committer's own
	base    int64
	newest  int64    // stamp of the last record
	records int      // held
	entries []entry  // one for each; nil when none is in a history and the segment is frozen
	offsets []uint64 // of entries; nil when they are first, first+1, …
	live    int      // records that are in the history
}

// entry is what the index knows of one record.
type entry struct {
	topic topicID
	next  uint32 // how far the topic's next record is away; 0: it is the last; farAway: that far at least
	end   uint32 // bytes of the segment's records up to the end of this one
	time  uint32 // its stamp, in timeUnits above the segment's base, rounded down
}

const (
	farAway  = ^uint32(0)
	timeUnit = 16 // milliseconds
)

func (s *segment) dense() bool { return s.next-s.first == uint64(s.records) }

// at returns the place of offset among the entries, or of the next one above it.
func (s *segment) at(offset uint64) (i int, found bool) {
	if s.offsets != nil {
		return slices.BinarySearch(s.offsets, offset)
	}
	if offset < s.first {
		return 0, false
	}
	i = int(min(offset-s.first, uint64(len(s.entries))))
	return i, i < len(s.entries)
}

func (s *segment) offset(i int) uint64 {
	if s.offsets != nil {
		return s.offsets[i]
	}
	return s.first + uint64(i)
}

// extent is where in the frozen value's records entry i lies.
func (s *segment) extent(i int) (from, to uint32) {
	if i > 0 {
		from = s.entries[i-1].end
	}
	return from, s.entries[i].end
}

func (s *segment) size(i int) int64 {
	from, to := s.extent(i)
	return int64(to - from)
}

func (s *segment) stamp(i int) int64 { return s.base + int64(s.entries[i].time)*timeUnit }

// add appends an entry for the record at offset.
func (s *segment) add(offset uint64, size int, stamp int64) {
	if s.records == 0 {
		s.base = stamp
	}
	end := uint32(size)
	if n := len(s.entries); n > 0 {
		end += s.entries[n-1].end
	}
	if s.offsets == nil && offset != s.first+uint64(len(s.entries)) {
		s.offsets = make([]uint64, len(s.entries), len(s.entries)+1)
		for i := range s.offsets {
			s.offsets[i] = s.first + uint64(i)
		}
	}
	if s.offsets != nil {
		s.offsets = append(s.offsets, offset)
	}
	s.entries = append(s.entries, entry{end: end, time: uint32(max(stamp-s.base, 0) / timeUnit)})
	s.records++
	s.next, s.newest = offset+1, max(stamp, s.newest)
	s.bytes += logCost(size)
}

func logCost(value int) int64 { return int64(8 + value + recordOverhead) }

// segmentOf returns the segment that holds offset, if one does, and its key; nil if offset is below all of them.
func segmentOf(log *bolt.Bucket, offset uint64) (*bolt.Bucket, uint64) {
	c := log.Cursor()
	want := key64(offset)
	k, _ := c.Seek(want)
	switch {
	case k == nil:
		k, _ = c.Last()
	case !bytes.Equal(k, want):
		k, _ = c.Prev()
	}
	if len(k) != 8 {
		return nil, 0
	}
	return log.Bucket(k), binary.BigEndian.Uint64(k)
}

// eachRecord calls on for every record of a segment, in order.
func eachRecord(seg *bolt.Bucket, first uint64, on func(offset uint64, v []byte) error) error {
	frozen := seg.Get(keyFrozen)
	if frozen == nil {
		c := seg.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if len(k) != 8 {
				return fmt.Errorf("%w: a record's key has %d bytes", ErrDamaged, len(k))
			}
			if err := on(binary.BigEndian.Uint64(k), v); err != nil {
				return err
			}
		}
		return nil
	}
	t, err := thaw(frozen, first)
	if err != nil {
		return err
	}
	for r, ok := t.next(); ok; r, ok = t.next() {
		if err := on(r.offset, r.value); err != nil {
			return err
		}
	}
	if t.bad {
		return errMalformed
	}
	return nil
}

// findRecord returns the record at offset, nil if the log does not hold it.
func findRecord(log *bolt.Bucket, offset uint64) ([]byte, error) {
	seg, first := segmentOf(log, offset)
	if seg == nil {
		return nil, nil
	}
	frozen := seg.Get(keyFrozen)
	if frozen == nil {
		return seg.Get(key64(offset)), nil
	}
	t, err := thaw(frozen, first)
	if err != nil {
		return nil, err
	}
	for r, ok := t.next(); ok; r, ok = t.next() {
		if r.offset >= offset {
			if r.offset > offset {
				return nil, nil
			}
			return r.value, nil
		}
	}
	if t.bad {
		return nil, errMalformed
	}
	return nil, nil
}

// logAppender adds records to the log within one transaction.
type logAppender struct {
	cfg     *Config
	log     *bolt.Bucket
	records int // in the last segment
	bytes   int64
	base    int64
	first   uint64 // key of the last segment; 0: there is none
	fresh   bool   // begin a segment, and leave the last one's pages as they are
	opened  []uint64
	last    *bolt.Bucket // the last segment's; nil until it is needed
}

// newLogAppender goes on with the segment last, which may be nil.
func newLogAppender(cfg *Config, log *bolt.Bucket, last *segment) *logAppender {
	a := &logAppender{cfg: cfg, log: log}
	if last != nil && !last.frozen {
		a.first, a.records, a.bytes, a.base = last.first, last.records, last.bytes, last.base
	}
	return a
}

func (a *logAppender) append(offset uint64, value []byte, stamp int64) error {
	if err := a.openSegment(offset, stamp); err != nil {
		return err
	}
	a.records++
	a.bytes += logCost(len(value))
	return a.last.Put(key64(offset), value)
}

// openSegment sees to it that last is the bucket for the record at offset, a new one if the present one is full.
func (a *logAppender) openSegment(offset uint64, stamp int64) error {
	full := a.fresh || a.records >= a.cfg.segmentRecords || a.bytes >= min(a.cfg.KeepBytes/16, segmentBytes) || stamp-a.base > segmentSpan
	if a.first == 0 || a.records > 0 && full {
		if err := a.end(offset); err != nil {
			return err
		}
		a.fresh = false
		b, err := a.log.CreateBucket(key64(offset))
		if err != nil {
			return err
		}
		a.opened, a.last = append(a.opened, offset), b
		a.first, a.records, a.bytes, a.base = offset, 0, 0, stamp
	}
	if a.last == nil {
		a.last = a.log.Bucket(key64(a.first))
		if a.last == nil {
			return fmt.Errorf("%w: the segment of offset %d is gone", ErrDamaged, a.first)
		}
	}
	a.last.FillPercent = 1 // it is only ever appended to
	return nil
}

// end notes where the last segment ends, in its bucket's sequence, so that a record missing from its end is noticed.
func (a *logAppender) end(next uint64) error {
	if a.first == 0 || a.fresh { // the note lets the segment's first page be written anew
		return nil
	}
	b := a.log.Bucket(key64(a.first))
	if b == nil {
		return fmt.Errorf("%w: the segment of offset %d is gone", ErrDamaged, a.first)
	}
	return b.SetSequence(next)
}

// errMissing is a record that should be there, or one that was dropped on purpose.
var errMissing = errors.New("it is missing")

// logPage is a page of the feed.
type logPage struct {
	records []broker.Record
	next    uint64 // the offset that has to come next
	head    uint64
	size    int
}

func (p *logPage) full() bool {
	return p.next > p.head || p.size >= pageBytes || len(p.records) >= feedRecords
}

func (p *logPage) add(v []byte, from broker.FollowFrom) error {
	r, err := logRecord(v, p.next, from)
	if err != nil {
		return fmt.Errorf("log: record at offset %d: %w", p.next, err)
	}
	p.records = append(p.records, r)
	p.size += len(v)
	p.next++
	return nil
}

// readLog returns the records after offset after, at most about a page of them and none above head. Those of from.Origin
// are elided. If the first of them is no longer held it returns broker.ErrTrimmed, or an errMissing when it is below others.
func readLog(log *bolt.Bucket, after, head uint64, from broker.FollowFrom) ([]broker.Record, error) {
	p := logPage{next: after + 1, head: head}
	for !p.full() {
		seg, first := segmentOf(log, p.next)
		if seg == nil {
			return nil, broker.ErrTrimmed
		}
		before := p.next
		var err error
		if frozen := seg.Get(keyFrozen); frozen != nil {
			err = p.frozen(frozen, first, from)
		} else {
			c := seg.Cursor()
			for k, v := c.Seek(key64(p.next)); k != nil && !p.full() && err == nil; k, v = c.Next() {
				err = p.add(v, from)
			}
		}
		if err != nil {
			return nil, err
		}
		if p.next == before {
			return nil, fmt.Errorf("log: %w: record at offset %d: %w", ErrDamaged, p.next, errMissing)
		}
	}
	return p.records, nil
}

func logRecord(v []byte, offset uint64, from broker.FollowFrom) (broker.Record, error) {
	id, err := checkRecord(v)
	if err != nil {
		return broker.Record{}, err
	}
	if id.offset > offset {
		return broker.Record{}, fmt.Errorf("%w: %w", ErrDamaged, errMissing)
	}
	if id.offset != offset {
		return broker.Record{}, fmt.Errorf("%w: it is the record of offset %d", ErrDamaged, id.offset)
	}
	if !from.Origin.IsZero() && id.origin == from.Origin {
		return broker.Record{Offset: id.offset, Origin: id.origin, Ref: id.ref, Elided: true}, nil
	}
	return decodeRecord(v)
}
