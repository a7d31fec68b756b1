package floor

import (
	"sync"
	"sync/atomic"
)

// batchEntries is how far a tail looks before it writes.
const batchEntries = 256

// tail is one core's reader of the log. It alone knows its sessions' topics, so matching takes no lock.
type tail struct {
	log    *ring
	wake   chan struct{}
	asleep atomic.Bool

	mu    sync.Mutex
	tasks []func() // to be run between two batches

	// The rest is for the tail's goroutine only.
	byTopic map[string][]*session
	next    uint64 // number of the message that it reads next
	batch   []entry
	due     []*session // those with something to write
	out     []byte
}

func newTail(log *ring) *tail {
	return &tail{log: log, wake: make(chan struct{}, 1), byTopic: map[string][]*session{}}
}

// rouse has a tail that sleeps look at the log.
func (t *tail) rouse() {
	if t.asleep.Load() {
		t.signal()
	}
}

func (t *tail) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// do runs f in the tail's goroutine, soon.
func (t *tail) do(f func()) {
	t.mu.Lock()
	t.tasks = append(t.tasks, f)
	t.mu.Unlock()
	t.signal()
}

// run never ends; neither does a floor before its process.
func (t *tail) run() {
	for {
		t.mu.Lock()
		tasks := t.tasks
		t.tasks = nil
		t.mu.Unlock()
		for _, f := range tasks {
			f()
		}
		if end := t.log.end.Load(); end != t.next {
			t.step(min(end, t.next+batchEntries))
			continue
		}
		t.asleep.Store(true)
		if t.log.end.Load() == t.next {
			<-t.wake
		}
		t.asleep.Store(false)
	}
}

// step gives out the messages before number to, and writes to each session once.
func (t *tail) step(to uint64) {
	var ok bool
	if t.batch, ok = t.log.read(t.batch[:0], t.next, to); !ok {
		panic("floor: the log has passed a tail")
	}
	for i := range t.batch {
		e := &t.batch[i]
		for _, s := range t.byTopic[e.topic] {
			t.give(s, e.packet)
		}
	}
	t.next = to
	clear(t.batch)
	t.flush()
}

// give puts a packet to what a session is due, unless it lags.
func (t *tail) give(s *session, packet []byte) {
	if s.lags {
		return
	}
	if len(s.pending) == 0 {
		t.due = append(t.due, s)
	}
	s.pending = append(s.pending, packet)
}

func (t *tail) flush() {
	for _, s := range t.due {
		t.out = appendFrame(t.out[:0], s.pending)
		clear(s.pending)
		s.pending = s.pending[:0]
		if rest := s.try(t.out); len(rest) > 0 {
			s.lags = true
			go s.catchUp(t.next, append([]byte(nil), rest...)) // ends with the session, whose connection it writes to
		}
	}
	clear(t.due)
	t.due = t.due[:0]
}

func (t *tail) remove(s *session) {
	for topic := range s.topics {
		list := t.byTopic[topic]
		for i, other := range list {
			if other == s {
				list[i] = list[len(list)-1]
				t.byTopic[topic] = list[:len(list)-1]
				break
			}
		}
	}
}
