package storebolt

import (
	"fmt"
	"maps"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// seen reports whether r was handed over before, and answers for it then. A broker repeats what it got no answer for, after
// it has read the feed: so most of it was never committed, and what was is found near the end of the log.
func (c *commit) seen(r *broker.Record) (broker.AppendResult, bool, error) {
	if r.Origin.IsZero() {
		return broker.AppendResult{}, false, nil
	}
	o, known := c.origins[r.Origin]
	if !known {
		o, known = c.store.origins[r.Origin]
	}
	if !known || r.Ref > o.ref {
		return broker.AppendResult{}, false, nil
	}
	back := c.lookback[r.Origin]
	if back == nil {
		back = &lookback{next: o.offset, refs: make(map[uint64]uint64)}
		if c.lookback == nil {
			c.lookback = make(map[protocol.RunID]*lookback)
		}
		c.lookback[r.Origin] = back
	}
	if err := back.until(c.log.log, c.store.index.dense, r.Origin, r.Ref); err != nil {
		return broker.AppendResult{}, false, err
	}
	switch offset, found := back.refs[r.Ref]; {
	case found:
		return broker.AppendResult{Offset: offset, Duplicate: true}, true, nil
	case back.passed(r.Ref):
		if result, known, err := c.repeated(r); known || err != nil { // it was answered with its key's first record
			return result, true, err
		}
		// Refs only grow, so it came before, and was refused: it would be out of order now.
		return broker.AppendResult{Err: protocol.Errorf(protocol.CodeStoreUnavailable,
			"the message was not stored when it was first sent; publish it again")}, true, nil
	default:
		return broker.AppendResult{Duplicate: true}, true, nil
	}
}

// lookback finds old records of one origin by going back through the log, as far as it has to and not twice.
type lookback struct {
	next   uint64            // offset to be looked at next; everything above was
	refs   map[uint64]uint64 // ref -> offset of what was seen
	lowest uint64            // of refs; 0 at first
}

// add notes a record that was appended after the lookback began. l may be nil.
func (l *lookback) add(ref, offset uint64) {
	if l != nil {
		l.refs[ref] = offset
	}
}

// passed reports whether ref would have been seen if it were in the log.
func (l *lookback) passed(ref uint64) bool { return l.lowest != 0 && l.lowest <= ref }

// until goes back until it has passed ref or has reached the floor of the log.
func (l *lookback) until(log *bolt.Bucket, floor uint64, id protocol.RunID, ref uint64) error {
	for !l.passed(ref) && l.next >= max(floor, 1) {
		seg, first := segmentOf(log, l.next)
		if seg == nil {
			return nil
		}
		err := eachRecord(seg, first, func(offset uint64, v []byte) error {
			if offset > l.next {
				return nil
			}
			r, err := checkRecord(v)
			if err != nil {
				return fmt.Errorf("log: record at offset %d: %w", offset, err)
			}
			if r.origin == id {
				l.refs[r.ref] = offset
				if l.lowest == 0 || r.ref < l.lowest {
					l.lowest = r.ref
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		l.next = first - 1
	}
	return nil
}

// putOrigins writes the origins that have changed and forgets the least recent ones above 64.
func (c *commit) putOrigins() error {
	for id, o := range c.origins {
		if err := c.meta.Put(originKey(id), sealNumbers(o.ref, o.offset)); err != nil {
			return fmt.Errorf("origin %s: %w", id, err)
		}
	}
	all := c.allOrigins()
	for len(all) > keepOrigins {
		oldest := leastRecent(all)
		delete(all, oldest)
		if err := c.meta.Delete(originKey(oldest)); err != nil {
			return fmt.Errorf("origin %s: %w", oldest, err)
		}
	}
	c.origins = all
	return nil
}

// allOrigins is the store's table with the changes of this commit.
func (c *commit) allOrigins() map[protocol.RunID]origin {
	all := maps.Clone(c.store.origins)
	maps.Copy(all, c.origins)
	return all
}

func leastRecent(all map[protocol.RunID]origin) protocol.RunID {
	var oldest protocol.RunID
	lowest := ^uint64(0)
	for id, o := range all {
		if o.offset < lowest {
			oldest, lowest = id, o.offset
		}
	}
	return oldest
}
