package storebolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/carillon-mq/carillon/broker"
)

// The bucket expiry has an empty value for every retained record that expires: when (8 bytes, Unix milliseconds) and topic.

// clearsAtOnce is how many retained records one commit clears because they have expired.
const (
	clearsAtOnce   = 1024
	clearsWhenFull = 32
)

// never is the time of the next expiry when there is none.
const never = int64(math.MaxInt64)

func expiryKey(expires int64, topic string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(expires)), topic...)
}

// clearExpired appends a clear for each retained record that has expired.
func (c *commit) clearExpired() error {
	if c.store.nextExpiry > c.now {
		return nil
	}
	most := clearsAtOnce
	switch c.how {
	case shrinking:
		most = clearsWhenFull
	case tight:
		most = c.only(1)
	case whole, lean:
	}
	var topics []string
	cursor := c.expiry.Cursor()
	for k, _ := cursor.First(); len(k) >= 8 && len(topics) < most; k, _ = cursor.Next() {
		if int64(binary.BigEndian.Uint64(k)) > c.now {
			break
		}
		if _, changed := c.changes[string(k[8:])]; !changed { // else it has been replaced in this commit
			topics = append(topics, string(k[8:]))
		}
	}
	for _, topic := range topics {
		result, err := c.add(&broker.Record{Topic: topic, Retain: true, Time: c.now})
		if err != nil {
			return err
		}
		if result.Err != nil {
			return fmt.Errorf("clear %q, which has expired: %w", topic, result.Err)
		}
	}
	return nil
}

// only returns n as long as the commit has nothing else to do.
func (c *commit) only(n int) int {
	if len(c.newest) > 0 || c.rules != nil {
		return 0
	}
	return n
}

// putExpiry keeps the bucket expiry in step with a change of topic's retained record.
func (c *commit) putExpiry(topic string, ch *change) error {
	if ch.expired != 0 && ch.expired != ch.expires {
		if err := c.expiry.Delete(expiryKey(ch.expired, topic)); err != nil {
			return err
		}
	}
	if ch.expires == 0 || ch.expires == ch.expired {
		return nil
	}
	return c.expiry.Put(expiryKey(ch.expires, topic), []byte{})
}

// firstExpiry is when the next retained record expires.
func (c *commit) firstExpiry() int64 {
	k, _ := c.expiry.Cursor().First()
	if len(k) < 8 {
		return never
	}
	return int64(binary.BigEndian.Uint64(bytes.Clone(k[:8])))
}
