package broker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/interest"
	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/broker/internal/trie"
	"github.com/carillon-mq/carillon/protocol"
)

// shardBatch is how many entries a shard takes before it hands them to the sessions' sockets.
const shardBatch = 256

// shard tails the ring for its share of the sessions. Its goroutine alone touches its trie, so matching takes no lock; whatever
// changes a subscription is posted to it and runs between two entries, so a subscription is live from an exact position.
type shard struct {
	b         *Broker
	trie      trie.Trie[*subscription]
	at        ring.Place
	next      uint64 // seq of the next entry to pass
	mark      uint64 // watermark of the last one passed
	dirty     []*Session
	current   *ring.Entry
	visit     func([]*trie.Item[*subscription])
	spare     [][]*ring.Entry // empty pending slices
	spared    int             // their capacity
	packets   []*Packet
	conflated []*subscription // that the entries passed just now are for
	wheel     wheel
	due       []post // taken from posts, not yet run

	passedSeq   atomic.Uint64 // last entry passed and handed to the sockets
	passedBytes atomic.Uint64 // of the bytes ever appended
	interest    interest.Table
	sessions    atomic.Int64

	wake    chan struct{}
	asleep  atomic.Bool
	mu      sync.Mutex
	posts   []post
	urgent  []func()
	posted  atomic.Bool // posts or urgent
	urged   atomic.Bool // urgent
	stopped bool
}

// post is what a shard was asked to do when it has passed the entry after, and not the next.
type post struct {
	after uint64
	do    func()
}

// maxSpared bounds what a shard keeps for the next batch: 4 MiB of pending slices.
const maxSpared = 512 << 10

func newShard(b *Broker) *shard {
	sh := &shard{b: b, wake: make(chan struct{}, 1), next: 1, wheel: newWheel(b.opt.PingEvery)}
	sh.at, _ = b.ring.Seek(1)
	sh.visit = sh.deliver
	return sh
}

// post runs f on the shard's goroutine, between two entries: after every entry that has been appended by now, also when the
// shard has slept over them (A7), and before every one that is appended from now on. After the shard has stopped, f is dropped.
func (sh *shard) post(f func()) {
	sh.mu.Lock()
	if sh.stopped {
		sh.mu.Unlock()
		return
	}
	sh.posts = append(sh.posts, post{sh.b.ring.Last(), f})
	sh.posted.Store(true)
	sh.mu.Unlock()
	sh.nudge()
}

// urge runs f on the shard's goroutine between the next two entries: a reader of the log is near now, and the shard moves on.
func (sh *shard) urge(f func()) {
	sh.mu.Lock()
	if sh.stopped {
		sh.mu.Unlock()
		return
	}
	sh.urgent = append(sh.urgent, f)
	sh.posted.Store(true)
	sh.urged.Store(true)
	sh.mu.Unlock()
	sh.nudge()
}

// nudge wakes the shard if it sleeps. It may be called from any goroutine and never blocks.
func (sh *shard) nudge() {
	if sh.asleep.Load() {
		select {
		case sh.wake <- struct{}{}:
		default:
		}
	}
}

// run is the shard's goroutine. It ends when stop is closed.
func (sh *shard) run(stop <-chan struct{}) {
	tick := time.NewTicker(sh.wheel.tick)
	defer tick.Stop()
	sh.wheel.next = time.Now().Add(sh.wheel.tick)
	for {
		head := sh.b.ring.Last() // before the posts: what is appended after a post is passed after it
		if upTo := sh.runPosts(head); sh.next <= upTo {
			sh.tail(upTo)
			select { // a busy shard still keeps time
			case now := <-tick.C:
				sh.beat(now)
			default:
			}
			continue
		}
		sh.asleep.Store(true)
		if sh.posted.Load() || sh.b.ring.Last() >= sh.next {
			sh.asleep.Store(false)
			continue
		}
		select {
		case <-sh.wake:
			sh.asleep.Store(false)
		case now := <-tick.C:
			sh.asleep.Store(false)
			sh.beat(now)
		case <-stop:
			sh.stop()
			return
		}
	}
}

// stop runs what was posted in time; nothing is posted any more.
func (sh *shard) stop() {
	sh.mu.Lock()
	sh.stopped = true
	posts := append(sh.due, sh.posts...) // what is urgent is about sockets, which are closed
	sh.due, sh.posts, sh.urgent = nil, nil, nil
	sh.mu.Unlock()
	for _, p := range posts {
		p.do()
	}
}

// runPosts runs the posts whose place has come. It returns the seq up to which entries may be passed before it is called again:
// that of the next post, or head, which was read before.
func (sh *shard) runPosts(head uint64) (upTo uint64) {
	if sh.posted.Load() {
		sh.takePosts()
	}
	n := 0
	for ; n < len(sh.due) && sh.due[n].after < sh.next; n++ {
		sh.due[n].do()
	}
	if n < len(sh.due) {
		sh.due = slices.Delete(sh.due, 0, n)
		return sh.due[0].after
	}
	clear(sh.due)
	if sh.due = sh.due[:0]; cap(sh.due) > 1024 {
		sh.due = nil
	}
	return head
}

// takePosts runs what is urgent and puts the rest behind what is due.
func (sh *shard) takePosts() {
	sh.mu.Lock()
	sh.due = append(sh.due, sh.posts...)
	clear(sh.posts)
	if sh.posts = sh.posts[:0]; cap(sh.posts) > 1024 {
		sh.posts = nil
	}
	urgent := sh.urgent
	sh.urgent = nil
	sh.posted.Store(false)
	sh.urged.Store(false)
	sh.mu.Unlock()
	for _, f := range urgent {
		f()
	}
}

// tail passes the entries up to the given one, at most a batch of them, and hands what matched to the sessions' sockets, once for
// each.
func (sh *shard) tail(upTo uint64) {
	var bytes uint64
	for range shardBatch {
		if sh.next > upTo || sh.urged.Load() {
			break
		}
		e := sh.at.Next()
		sh.current = e
		if sh.trie.Len() > 0 && !sh.b.ring.Expired(e) {
			sh.trie.Match(e.Topic, sh.visit)
		}
		if r := e.Receipt(); r != nil {
			r.Passed()
		}
		sh.next, sh.mark = e.Seq+1, e.Watermark
		bytes += uint64(e.Bytes())
	}
	sh.current = nil
	for i, s := range sh.dirty {
		sh.flush(s)
		sh.dirty[i] = nil
	}
	sh.dirty = sh.dirty[:0]
	sh.passedSeq.Store(sh.next - 1)
	sh.wakeConflated()
	sh.passedBytes.Add(bytes)
	sh.b.ring.Moved()
}

// deliver notes the current entry for the sessions of the given subscriptions, once for a session however many of its
// filters match (log.md R1).
func (sh *shard) deliver(items []*trie.Item[*subscription]) {
	e := sh.current
	for _, it := range items {
		s := it.Value.session
		if e.Excludes(s.origin) {
			continue
		}
		if it.Value.conflated != nil {
			sh.noteConflated(it.Value, e)
			continue
		}
		if s.seen == e.Seq {
			continue
		}
		s.seen = e.Seq
		if r := e.Receipt(); r != nil {
			r.Received()
		}
		if s.lagging {
			s.countLag(e)
			continue
		}
		if s.pending == nil {
			s.pending = sh.takeSpare()
			sh.dirty = append(sh.dirty, s)
		}
		s.pending = append(s.pending, e)
		s.pendingBytes += int(e.BodyCost)
		if s.pendingBytes >= sh.b.opt.Limits.Pending {
			sh.push(s)
			clear(s.pending)
			s.pending, s.pendingBytes = s.pending[:0], 0
		}
	}
}

func (sh *shard) takeSpare() []*ring.Entry {
	if n := len(sh.spare); n > 0 {
		p := sh.spare[n-1]
		sh.spare[n-1] = nil
		sh.spare = sh.spare[:n-1]
		sh.spared -= cap(p)
		return p
	}
	return make([]*ring.Entry, 0, 16)
}

// flush hands a session's pending entries to its socket and takes its slice back.
func (sh *shard) flush(s *Session) {
	if s.pending == nil {
		return
	}
	if len(s.pending) > 0 {
		sh.push(s)
	}
	p := s.pending
	clear(p)
	s.pending, s.pendingBytes = nil, 0
	if sh.spared+cap(p) <= maxSpared {
		sh.spare = append(sh.spare, p[:0])
		sh.spared += cap(p)
	}
}

// push offers the pending entries to the session. What does not fit its window is not kept: the session lags from there.
func (sh *shard) push(s *Session) {
	sh.packets = sh.packets[:0]
	for _, e := range s.pending {
		sh.packets = append(sh.packets, e.Packet())
	}
	taken := s.offer(sh.packets)
	sh.b.stats.delivered.Add(uint64(taken))
	if taken < len(s.pending) {
		sh.lag(s, s.pending[taken:])
	}
	clear(sh.packets)
}

// position is the point between the last entry passed and the next.
func (sh *shard) position() protocol.Position {
	return sh.b.positionAt(sh.next-1, sh.mark)
}
