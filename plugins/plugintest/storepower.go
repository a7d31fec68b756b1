package plugintest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// powered is a store whose writes are recorded, in two lives of its process: the first is killed, the second asked to end.
type powered struct {
	*killer
	lives [2]life
	disk  *disk
	cwd   string
}

// life is one process under strace. Times are lengths of its trace, which has every call of the process before the process goes on.
type life struct {
	path  string
	term  protocol.RunID
	ready int64 // what the feed began with has come
	end   int64

	mu    sync.Mutex
	shown map[uint64]int64 // by ref: acknowledged, or brought by the feed
	calls []call
}

// moment is one at which the power is lost.
type moment struct {
	life int
	at   int64
	luck luck
	what string
}

func testPowerCuts(t *T) {
	strace := t.strace()
	dir, err := filepath.EvalSymlinks(t.dataDir())
	if err != nil {
		t.Fatal(err)
	}
	p := &powered{killer: newKiller(&store{dir: dir, run: protocol.NewRunID()})}
	if p.disk, err = newDisk(dir); err == nil {
		p.cwd, err = os.Getwd()
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.lives {
		p.live(t, strace, i)
	}
	cuts := p.moments(t)
	next := 0
	for i := range p.lives {
		for _, c := range p.lives[i].calls {
			for ; next < len(cuts) && cuts[next].life == i && cuts[next].at < c.end; next++ {
				p.cutAt(t, cuts[next])
			}
			err := p.disk.do(&c, &p.cwd)
			if hidden, ok := errors.AsType[*unseen](err); ok {
				t.Skipf("%s: what a loss of power would leave can't be known from here", hidden.what)
			}
		}
		for ; next < len(cuts) && cuts[next].life == i; next++ {
			p.cutAt(t, cuts[next])
		}
		p.disk.open = map[int64]*openFile{}
	}
	t.Logf("the power was lost %d times, %d records had been acknowledged", len(cuts), len(p.acked))
}

// live runs the plugin under strace, and notes what it has shown when.
func (p *powered) live(t *T, strace string, i int) {
	l := &p.lives[i]
	l.path, l.shown = filepath.Join(t.TempDir(), "trace"), map[uint64]int64{}
	in, err := start(t.ctx, t.plugin, launch{wrapper: traceArgs(strace, l.path)}, t.about, p.dir)
	if in != nil {
		defer t.closed(in)
	}
	if err != nil {
		t.Skipf("the plugin does not start under strace, which may not be allowed here: %v", err)
	}
	p.process, p.StoreClient = in, in.store
	_, end := p.feed(t, broker.FollowFrom{})
	l.term, l.ready = end.Term, l.now(t)
	p.use(t, l, end.Head)
	if i == 0 {
		in.kill()
	} else {
		in.shutdown(t.ctx)
		in.wait(stopTime)
	}
	l.end = l.now(t)
	trace, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	l.calls = parseTrace(trace)
}

// now is the length of the trace.
func (l *life) now(t *T) int64 {
	info, err := os.Stat(l.path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// use appends, one batch after another and then several at a time, while somebody follows.
func (p *powered) use(t *T, l *life, after uint64) {
	ctx, cancel := context.WithCancel(t.ctx)
	var following sync.WaitGroup
	client := p.StoreClient
	following.Go(func() {
		_ = client.Follow(ctx, broker.FollowFrom{After: after}, func(f broker.Feed) error { // ends with the context, or the process
			at := l.now(t)
			for _, r := range f.Records {
				l.note(r.Ref, at)
			}
			return nil
		})
	})
	defer following.Wait()
	defer cancel()
	const alone, together = 8, 24
	for range alone {
		p.noteAt(t, l, p.sendBatch().wait(t))
	}
	var onTheirWay []sentBatch
	for range together {
		if onTheirWay = append(onTheirWay, p.sendBatch()); len(onTheirWay) == 6 {
			p.noteAt(t, l, onTheirWay[0].wait(t))
			onTheirWay = onTheirWay[1:]
		}
	}
	for _, b := range onTheirWay {
		p.noteAt(t, l, b.wait(t))
	}
}

type sentBatch chan outcome

func (b sentBatch) wait(t *T) outcome { return t.await(b) }

func (p *powered) sendBatch() sentBatch {
	batch, answer := p.newBatch(), make(sentBatch, 1)
	p.Append(batch, func(r []broker.AppendResult, err error) { answer <- outcome{batch, r, err} })
	return answer
}

// noteAt remembers what was acknowledged, and when.
func (p *powered) noteAt(t *T, l *life, o outcome) {
	if o.err != nil {
		t.Fatalf("append: %v", o.err)
	}
	at := l.now(t)
	p.note(t, o)
	for _, r := range o.batch {
		l.note(r.Ref, at)
	}
}

func (l *life) note(ref uint64, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, before := l.shown[ref]; !before {
		l.shown[ref] = at
	}
}

// moments are when the power is lost, in their order: at the places where stores go wrong, and at some that nobody has chosen.
func (p *powered) moments(t *T) []moment {
	acks, behindWrites := 2, 3
	if t.plugin.Kills == 1 { // somebody is in a hurry
		acks, behindWrites = 1, 1
	}
	var all []moment
	for i := range p.lives {
		l := &p.lives[i]
		add := func(at int64, luck luck, what string) { all = append(all, moment{i, at, luck, what}) }
		add(rand.Int64N(l.ready+1), lostSome, "while it starts")
		add(l.ready, []luck{lostAll, lostData}[i], "when its feed has caught up")
		shown := slices.Collect(maps.Values(l.shown))
		for range acks {
			add(shown[rand.IntN(len(shown))], lostAll, "at an acknowledgement")
		}
		writes := p.writes(l)
		if len(writes) == 0 {
			t.Skipf("it writes nothing into its folder: where it keeps its records nobody can look from here")
		}
		for k := range behindWrites {
			add(writes[rand.IntN(len(writes))], []luck{lostPage, lostSome}[k%2], "behind a write")
		}
		for range t.plugin.Kills / 4 {
			add(rand.Int64N(l.end+1), []luck{lostAll, lostData, lostPage, lostSome}[rand.IntN(4)], "at some moment")
		}
		add(l.end, []luck{lostAll, lostSome}[i], []string{"with its kill", "when it has ended"}[i])
	}
	slices.SortStableFunc(all, func(a, b moment) int { return cmp.Or(a.life-b.life, cmp.Compare(a.at, b.at)) })
	return all
}

// writes are the ends of the writes into the folder, when the store is in use.
func (p *powered) writes(l *life) (ends []int64) {
	for i := range l.calls {
		c := &l.calls[i]
		_, path := fdOf(c.arg(0))
		if strings.Contains(c.name, "write") && p.disk.inside(path) && c.end > l.ready {
			ends = append(ends, c.end)
		}
	}
	return ends
}

// cutAt starts the plugin with what is left when the power is lost, and compares.
func (p *powered) cutAt(t *T, m moment) {
	dir := t.TempDir()
	defer os.RemoveAll(dir)
	if err := p.disk.cut(dir, m.luck); err != nil {
		t.Fatal(err)
	}
	when := fmt.Sprintf("after a loss of power in its life %d %s, of which %s", m.life+1, m.what, m.luck)
	in, err := start(t.ctx, t.plugin, launch{}, t.about, dir)
	if in != nil {
		defer t.closed(in)
	}
	if err != nil {
		t.Fatalf("expected that it starts %s, got: %v", when, err)
	}
	left := newKiller(&store{StoreClient: in.store, process: in, dir: dir, run: p.run, ref: p.ref})
	left.sent = p.sent
	for i := range p.lives[:m.life+1] {
		l := &p.lives[i]
		for ref, at := range l.shown {
			if i < m.life || at <= m.at {
				left.acked[ref] = p.acked[ref]
			}
		}
		if i < m.life || l.ready <= m.at {
			left.terms[l.term] = true
		}
	}
	left.verify(t)
	if !t.Failed() {
		batch := []broker.Record{left.retained("afterwards", "1")}
		committed(t, batch, left.append(t, batch...))
	}
	if t.Failed() {
		t.Fatalf("that is %s", when)
	}
}
