// Package unread counts what a lagging reader of the log has before it, so that a gap can say exactly how much was missed of what the log
// has dropped (docs/log.md R4).
//
// Count and Blur are called as the entries come, Advance as they are read, and Lost when the log has passed the reader.
package unread

import "github.com/carillon-mq/carillon/broker/internal/ring"

// Counts are the entries that matched and were not read, by chunk of the log. The zero value is empty. Whoever has it guards it.
type Counts struct {
	chunks     []chunkCount
	read       int64 // of chunks[0], already read
	readStored int64
	blurred    uint64   // counts that begin up to here may be too high
	endings    []ending // entries that matched and expire some time are not in chunks
	forgot     uint64   // the last one that is not in endings either; 0: all are
	merged     uint64   // chunks[0] stands for several chunks, of which this is the last; 0: for one
}

// maxCounts bounds Counts.chunks to 192 KiB.
const maxCounts = 8192

type chunkCount struct {
	first  uint64 // the chunk's first seq
	n      int64
	stored int64 // of these, what the store has too
}

// Tally is how many matching entries were not read.
type Tally struct {
	N       int64
	Stored  int64 // of these, what the store has too
	Unknown bool  // there may be more
}

// Bytes is about what the counts take.
func (c *Counts) Bytes() int { return 24 * (cap(c.chunks) + cap(c.endings)) }

// Blur notes that less matches from the entry seq on: what was counted before may be too much.
func (c *Counts) Blur(seq uint64) { c.blurred = seq }

// Advance takes off what was read.
func (c *Counts) Advance(st *ring.Stretch) {
	c.dropEndings(st.Next, 0)
	if c.dropBefore(st.Chunk); len(c.chunks) > 0 && c.chunks[0].first == st.Chunk {
		c.read += st.InChunk
		c.readStored += st.Stored
	}
}

// Count notes an entry that matched.
func (c *Counts) Count(e *ring.Entry) {
	if e.Expires() != 0 {
		c.countEnding(e)
		return
	}
	stored := int64(0)
	if e.Stored {
		stored = 1
	}
	if n := len(c.chunks); n > 0 && c.chunks[n-1].first == e.Chunk {
		c.chunks[n-1].n++
		c.chunks[n-1].stored += stored
		return
	}
	if len(c.chunks) == maxCounts { // a very large ring: give up the exact count rather than the bound
		half := c.chunks[:maxCounts/2]
		c.merged = half[len(half)-1].first
		for _, more := range half[1:] {
			half[0].n += more.n
			half[0].stored += more.stored
		}
		c.chunks = append(c.chunks[:1], c.chunks[maxCounts/2:]...)
	}
	c.chunks = append(c.chunks, chunkCount{e.Chunk, 1, stored})
}

// dropBefore forgets the counts of the chunks before first and returns how many entries of them were not read.
func (c *Counts) dropBefore(first uint64) (unread Tally) {
	if c.merged >= first {
		return Tally{}
	}
	i := 0
	for ; i < len(c.chunks) && c.chunks[i].first < first; i++ {
		unread.N += c.chunks[i].n
		unread.Stored += c.chunks[i].stored
	}
	if i > 0 {
		unread.N -= c.read
		unread.Stored -= c.readStored
		c.read, c.readStored, c.merged = 0, 0, 0
		c.chunks = append(c.chunks[:0], c.chunks[i:]...)
	}
	return unread
}

// Lost forgets the counts of the chunks before oldest, which are gone, and returns how many entries of them were not read and have not
// expired by now.
func (c *Counts) Lost(oldest uint64, now int64) Tally {
	exact := c.merged == 0 && (len(c.chunks) == 0 || c.chunks[0].first > c.blurred)
	partly := c.merged >= oldest // what came before was not counted
	missed := c.dropBefore(oldest)
	missed.Unknown = partly || missed.N > 0 && !exact
	missed.Add(c.dropEndings(oldest, now))
	return missed
}

// Add joins two tallies.
func (t *Tally) Add(more Tally) {
	t.N += more.N
	t.Stored += more.Stored
	t.Unknown = t.Unknown || more.Unknown
}

// Count is what a Gap says of it: -1 when it is not known exactly.
func (t Tally) Count() int64 {
	if t.Unknown {
		return -1
	}
	return t.N
}

// ending is an entry that matched, was left to the reader, and expires some time.
type ending struct {
	seq     uint64
	expires int64
	stored  bool
}

// maxEndings bounds Counts.endings to 96 KiB.
const maxEndings = 4096

// countEnding notes an entry that expires: only if it has not by then is it missed.
func (c *Counts) countEnding(e *ring.Entry) {
	if len(c.endings) == maxEndings { // give up the exact count rather than the bound
		c.forgot = c.endings[maxEndings/2-1].seq
		c.endings = append(c.endings[:0], c.endings[maxEndings/2:]...)
	}
	c.endings = append(c.endings, ending{e.Seq, e.Expires(), e.Stored})
}

// dropEndings forgets the endings before seq and returns how many of them have not expired by now.
func (c *Counts) dropEndings(seq uint64, now int64) (unread Tally) {
	n := 0
	for ; n < len(c.endings) && c.endings[n].seq < seq; n++ {
		e := &c.endings[n]
		if e.expires <= now {
			continue
		}
		unread.N++
		if e.stored {
			unread.Stored++
		}
		if e.seq <= c.blurred {
			unread.Unknown = true
		}
	}
	if c.forgot != 0 {
		unread.Unknown = true
		if c.forgot < seq {
			c.forgot = 0
		}
	}
	c.endings = append(c.endings[:0], c.endings[n:]...)
	return unread
}
