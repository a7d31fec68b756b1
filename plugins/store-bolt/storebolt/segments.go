package storebolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
)

// segment is one bucket of the log: the records from first on.
type segment struct {
	first uint64
	count int
	bytes int64 // keys, values and recordOverhead for each
}

func (s segment) next() uint64 { return s.first + uint64(s.count) }

// readSegments counts the log's records and checks that none is missing. The last one has to be head.
func readSegments(log *bolt.Bucket, head uint64) ([]segment, error) {
	var all []segment
	err := log.ForEachBucket(func(k []byte) error {
		if len(k) != 8 {
			return fmt.Errorf("log: %w: a segment's key has %d bytes", ErrDamaged, len(k))
		}
		seg := segment{first: binary.BigEndian.Uint64(k)}
		if n := len(all); n > 0 && all[n-1].next() != seg.first {
			return fmt.Errorf("log: %w: nothing from offset %d to %d", ErrDamaged, all[n-1].next(), seg.first)
		}
		c := log.Bucket(k).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if !bytes.Equal(k, key64(seg.next())) {
				return fmt.Errorf("log: %w: the record at offset %d is missing", ErrDamaged, seg.next())
			}
			seg.count++
			seg.bytes += logCost(len(v))
		}
		all = append(all, seg)
		return nil
	})
	if err != nil {
		return nil, err
	}
	last := head
	if n := len(all); n > 0 {
		last = all[n-1].next() - 1
	}
	if last != head {
		return nil, fmt.Errorf("log: %w: it ends at offset %d and should at %d", ErrDamaged, last, head)
	}
	return all, nil
}

func logCost(value int) int64 { return int64(8 + value + recordOverhead) }

// segmentOf returns the segment that holds offset, or nil if it is below the log's floor. offset is at most the head.
func segmentOf(log *bolt.Bucket, offset uint64) *bolt.Bucket {
	c := log.Cursor()
	want := key64(offset)
	k, _ := c.Seek(want)
	switch {
	case k == nil:
		k, _ = c.Last()
	case !bytes.Equal(k, want):
		k, _ = c.Prev()
	}
	if k == nil {
		return nil
	}
	return log.Bucket(k)
}

// logAppender adds records to the log within one transaction.
type logAppender struct {
	cfg      *Config
	log      *bolt.Bucket
	segments []segment    // the list as it will be once the transaction is committed
	last     *bolt.Bucket // the last segment's; nil until it is needed
}

func newLogAppender(cfg *Config, log *bolt.Bucket, segments []segment) *logAppender {
	return &logAppender{cfg: cfg, log: log, segments: slices.Clone(segments)}
}

func (a *logAppender) append(offset uint64, value []byte) error {
	if err := a.openSegment(offset); err != nil {
		return err
	}
	if err := a.last.Put(key64(offset), value); err != nil {
		return err
	}
	s := &a.segments[len(a.segments)-1]
	s.count++
	s.bytes += logCost(len(value))
	return nil
}

// openSegment sees to it that last is the bucket for the record at offset, a new one if the present one is full.
func (a *logAppender) openSegment(offset uint64) error {
	var s segment
	if n := len(a.segments); n > 0 {
		s = a.segments[n-1]
	}
	if s.count == 0 || s.count >= a.cfg.segmentRecords || s.bytes >= a.cfg.KeepBytes/16 {
		b, err := a.log.CreateBucket(key64(offset))
		if err != nil {
			return err
		}
		a.segments, a.last = append(a.segments, segment{first: offset}), b
	}
	if a.last == nil {
		a.last = a.log.Bucket(key64(s.first))
	}
	a.last.FillPercent = 1 // it is only ever appended to
	return nil
}

// trim drops whole segments from the old end while what stays is enough for Config.KeepRecords or KeepBytes.
func (a *logAppender) trim() error {
	var records int
	var bytes int64
	for _, s := range a.segments {
		records += s.count
		bytes += s.bytes
	}
	for len(a.segments) > 1 {
		oldest := a.segments[0]
		records -= oldest.count
		bytes -= oldest.bytes
		if records < a.cfg.KeepRecords && bytes < a.cfg.KeepBytes {
			return nil
		}
		if err := a.log.DeleteBucket(key64(oldest.first)); err != nil {
			return err
		}
		a.segments = a.segments[1:]
	}
	return nil
}

// readLog returns the records after offset after, at most about a page of them and none above head. Those of from.Origin
// are elided. If the first of them is no longer held it returns broker.ErrTrimmed.
func readLog(log *bolt.Bucket, after, head uint64, from broker.FollowFrom) ([]broker.Record, error) {
	var page []broker.Record
	size := 0
	for next := after + 1; next <= head && size < pageBytes && len(page) < feedRecords; {
		seg := segmentOf(log, next)
		if seg == nil {
			return nil, broker.ErrTrimmed
		}
		before := next
		c := seg.Cursor()
		for k, v := c.Seek(key64(next)); k != nil && next <= head && size < pageBytes && len(page) < feedRecords; k, v = c.Next() {
			r, err := logRecord(v, next, from)
			if err != nil {
				return nil, fmt.Errorf("log: record at offset %d: %w", next, err)
			}
			page = append(page, r)
			size += len(v)
			next++
		}
		if next == before {
			return nil, fmt.Errorf("log: %w: the record at offset %d is missing", ErrDamaged, next)
		}
	}
	return page, nil
}

func logRecord(v []byte, offset uint64, from broker.FollowFrom) (broker.Record, error) {
	id, err := checkRecord(v)
	if err != nil {
		return broker.Record{}, err
	}
	if id.offset != offset {
		return broker.Record{}, fmt.Errorf("%w: it is the record of offset %d", ErrDamaged, id.offset)
	}
	if !from.Origin.IsZero() && id.origin == from.Origin {
		return broker.Record{Offset: id.offset, Origin: id.origin, Ref: id.ref, Elided: true}, nil
	}
	return decodeRecord(v)
}
