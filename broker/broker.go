package broker

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/archive"
	"github.com/carillon-mq/carillon/broker/internal/commit"
	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/broker/internal/rules"
	"github.com/carillon-mq/carillon/protocol"
)

// Broker is one broker run. All its methods may be called concurrently.
type Broker struct {
	opt       Options
	rules     rules.Rules
	ring      *ring.Ring
	retained  *ring.Retained
	committer *commit.Committer // nil without a store
	archive   *archive.Archive  // nil without a store
	shards    []*shard
	registry  *registry
	stats     counters
	soon      soon
	walks     chan struct{} // one slot for each snapshot walk at a time
	draining  atomic.Bool

	messageIDs *messageIDs
	members    *members

	revocations *revocations
	authorizer  Authorizer    // nil: none
	renewals    chan struct{} // one slot for each session whose rights are asked for again at a time

	compression compression

	runMu sync.Mutex
	epoch protocol.RunID
	term  protocol.RunID // the store's

	restored *carried // the log of the last run, if that goes on

	stop     chan struct{}
	loops    sync.WaitGroup // shards, members
	feeds    sync.WaitGroup // committer, clearExpired
	drainers sync.WaitGroup
	started  sync.Once
	closed   sync.Once
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
}

// minRing is the smallest ring, in bytes.
const minRing = 64 << 10

// New makes a broker. It does nothing until Start.
func New(opt Options) (*Broker, error) {
	opt = opt.withDefaults()
	if opt.RingBytes < minRing || opt.Shards < 1 {
		return nil, fmt.Errorf("a ring of %d bytes and %d shards, wanted at least %d and 1", opt.RingBytes, opt.Shards, minRing)
	}
	for _, r := range opt.Topics {
		if err := protocol.ValidateFilter(r.Match); err != nil {
			return nil, err
		}
		if r.Class == ClassStored && opt.Store == nil {
			return nil, errors.New("a topic rule of class stored needs a store")
		}
	}
	b := &Broker{opt: opt, rules: opt.rules(), epoch: protocol.NewRunID(), stop: make(chan struct{})}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.messageIDs = newMessageIDs(&b.opt)
	b.retained = newRetained(&b.opt)
	b.ring = ring.New(opt.RingBytes, b.retained)
	b.registry = newRegistry(b)
	b.members = newMembers(b)
	b.revocations = newRevocations(b)
	b.authorizer, _ = opt.Authenticator.(Authorizer)
	b.renewals = make(chan struct{}, 16)
	b.compression = newCompression(opt.Shards)
	b.walks = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
	for range opt.Shards {
		b.shards = append(b.shards, newShard(b))
	}
	b.ring.Attach(b.slowestShard, b.nudgeAll)
	origin := b.epoch // the store's name of this run, also when the log of the last one goes on
	if opt.Log != nil {
		b.restoreLog(opt.Log)
	}
	if opt.Store != nil {
		b.openStore(opt.Store, origin)
	}
	return b, nil
}

func newRetained(opt *Options) *ring.Retained {
	r := ring.NewRetained(opt.Limits.Retained, opt.Limits.RetainedBytes)
	if opt.Store == nil {
		r.KeepEnds()
	}
	return r
}

// Start begins the broker's work and returns at once; Ready tells when retained values are loaded.
func (b *Broker) Start() {
	b.started.Do(func() {
		for _, sh := range b.shards {
			b.loops.Go(func() { sh.run(b.stop) })
		}
		b.loops.Go(func() { b.members.run(b.stop) })
		if revoker, can := b.opt.Authenticator.(Revoker); can {
			b.loops.Go(func() { b.revocations.run(b.stop) })
			b.feeds.Go(func() { b.revocations.follow(b.ctx, revoker) })
		}
		if b.committer != nil {
			b.feeds.Go(func() { b.committer.Run(b.ctx) })
			b.feeds.Go(func() { b.committer.Send(b.ctx) })
		} else {
			b.feeds.Go(func() { b.clearExpired(b.ctx) })
		}
	})
}

// Ready returns nil when the broker serves everything: retained values are loaded and it is not draining.
func (b *Broker) Ready() error {
	if b.draining.Load() {
		return protocol.Errorf(protocol.CodeGoingAway, "the broker is draining")
	}
	if err := b.retainedReady(); err != nil {
		return err
	}
	return nil
}

// WaitReady returns nil once Ready would, or the cause of ctx.
func (b *Broker) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for b.Ready() != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// retainedReady refuses what needs the retained values before they are loaded (log.md K4).
func (b *Broker) retainedReady() *protocol.Error {
	if b.committer == nil || b.committer.Loaded() {
		return nil
	}
	return protocol.Errorf(protocol.CodeNotReady, "retained messages are still being loaded from the store").WithRetryAfter(200 * time.Millisecond)
}

// Accepting returns nil when a new session may come; a door asks before it upgrades a connection.
func (b *Broker) Accepting() error {
	if b.draining.Load() {
		return protocol.Errorf(protocol.CodeGoingAway, "the broker is draining").WithRetryAfter(time.Second)
	}
	return nil
}

// Close ends the broker at once: sessions are cut, what waits for the store is answered as unknown. Drain first to be kind.
func (b *Broker) Close() {
	b.draining.Store(true)
	b.closed.Do(func() {
		b.registry.each(func(s *Session) {
			s.Revoke(protocol.Errorf(protocol.CodeGoingAway, "the broker has ended"))
		})
		if b.committer != nil {
			b.committer.Abandon()
		}
		b.cancel()
		b.ring.Close() // who waits for a shard to make room must not wait for ever
		close(b.stop)
	})
	b.loops.Wait()
	b.feeds.Wait()
	b.drainers.Wait()
}

// Authenticate decides who shows creds. It fails with a *protocol.Error: the refusal, or unavailable when no decision could be had,
// in which case nothing is granted. A client that has shown nothing, or nothing that the authenticator takes for credentials (token_missing), is
// anonymous if the broker lets in such.
func (b *Broker) Authenticate(ctx context.Context, creds Credentials) (*Identity, error) {
	switch {
	case creds.Token == "" && len(creds.Header) == 0 && b.opt.Anonymous != nil:
		return b.opt.Anonymous, nil
	case b.opt.Authenticator == nil:
		return b.opt.Anonymous, nil // without authentication a token is not looked at
	}
	ctx, cancel := context.WithTimeout(ctx, b.opt.Limits.AuthTimeout)
	defer cancel()
	id, err := b.opt.Authenticator.Authenticate(ctx, creds)
	if err == nil && id != nil {
		if why := b.revoked(id); why != nil {
			return nil, why
		}
		return b.asking(id), nil
	}
	if refusal, ok := errors.AsType[*protocol.Error](err); ok {
		if creds.Token == "" && refusal.Code == protocol.CodeTokenMissing && b.opt.Anonymous != nil {
			return b.opt.Anonymous, nil
		}
		return nil, refusal
	}
	b.opt.Logger.Warn("no authentication decision", "err", err)
	return nil, protocol.Errorf(protocol.CodeUnavailable, "no authentication decision could be had").WithRetryAfter(time.Second)
}

// Retained is the retained message of topic, if id may read it. The error is a *protocol.Error: not_found when there is none.
func (b *Broker) Retained(id *Identity, topic string) (protocol.Message, error) {
	if err := b.mayRead(id, topic); err != nil {
		return protocol.Message{}, err
	}
	v, held := b.retained.Get(topic)
	if !held || v.Expired(b.ring.Now()) {
		return protocol.Message{}, protocol.Errorf(protocol.CodeNotFound, "topic %q has no retained message", topic)
	}
	var m protocol.Message
	raw, _, err := protocol.Next(v.Packet.Bytes())
	if err == nil {
		err = m.Decode(raw)
	}
	m.Offset = v.Offset
	return m, err
}

func (b *Broker) mayRead(id *Identity, topic string) error {
	if err := protocol.ValidateTopic(topic); err != nil {
		return err
	}
	if err := b.ask(id, "", id.subscribeRight(topic)); err != nil {
		return err
	}
	if !id.CanSubscribe(topic) {
		return id.uncovered("reading", topic, id.because(id.subscribeRight(topic)))
	}
	if err := b.retainedReady(); err != nil {
		return err
	}
	return nil
}

// Epoch names the present run of the log.
func (b *Broker) Epoch() protocol.RunID {
	b.runMu.Lock()
	defer b.runMu.Unlock()
	return b.epoch
}

func (b *Broker) nudgeAll() {
	for _, sh := range b.shards {
		sh.nudge()
	}
}

// spread is a random time within Options.DrainSpread: who is told to come back does not come with everybody else.
func (b *Broker) spread() time.Duration {
	return time.Duration(rand.Int64N(int64(max(b.opt.DrainSpread, 0)) + 1))
}

// Position is the end of the log: everything appended so far is before it.
func (b *Broker) Position() protocol.Position {
	return b.positionAt(b.ring.Tip())
}

// positionAt is the point behind entry seq, where the store's watermark is mark.
func (b *Broker) positionAt(seq, mark uint64) protocol.Position {
	b.runMu.Lock()
	defer b.runMu.Unlock()
	return protocol.Position{Epoch: b.epoch, Seq: seq, Term: b.term, Offset: mark}
}

// slowestShard is how many of the bytes ever appended every shard has passed.
func (b *Broker) slowestShard() uint64 {
	slowest := b.shards[0].passedBytes.Load()
	for _, sh := range b.shards[1:] {
		slowest = min(slowest, sh.passedBytes.Load())
	}
	return slowest
}

// leastShard is the shard with the fewest sessions.
func (b *Broker) leastShard() *shard {
	least := b.shards[0]
	for _, sh := range b.shards[1:] {
		if sh.sessions.Load() < least.sessions.Load() {
			least = sh
		}
	}
	least.sessions.Add(1)
	return least
}

// newSessionID makes a name that cannot be guessed: who knows it may publish to the session's inbox ([REQ-2]).
func newSessionID() string {
	var id [16]byte
	crand.Read(id[:])
	return hex.EncodeToString(id[:])
}
