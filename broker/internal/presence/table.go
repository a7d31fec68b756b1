package presence

import (
	"slices"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

const (
	// Grace is how long a member stays whose connection was lost ([PRE-2]).
	Grace = 10 * time.Second
	// Every is the time between two changes of one topic, at the least ([PRE-3]).
	Every = time.Second
	// Gather is how long the first change of a topic waits for others: members often come together.
	Gather = 100 * time.Millisecond
)

// Table is all topics that have members. Its methods may be called concurrently.
type Table struct {
	mostLost int

	mu      sync.Mutex
	topics  map[string]*topic
	held    int       // members of all topics
	soon    queue     // topics with a first change
	resting queue     // topics of which something was told less than Every ago
	lost    lostList  // by the time at which they are given up
	look    time.Time // when Tell is called next; zero: when a change says so
}

// topic has members, or something to tell, or rests.
type topic struct {
	name    string
	members map[string]*member // those who are there, and those whose going has not been told
	count   int                // of those who are there
	told    int                // what count was when the last change was told
	changed []*member          // since then, each once
	queued  bool               // in soon or resting
	due     time.Time          // there
	next    *topic             // there
}

// member is one user in one topic.
type member struct {
	topic *topic
	user  string
	joins int32     // not taken back
	lost  int32     // connections that may come back until then
	until time.Time // of the last of them

	told   bool // what the last change left the readers with
	listed bool // in topic.changed
	shown  bool // an answer since then has named the member, or would have,
	hidden bool // or has not

	before, behind *member // in Table.lost
}

func (m *member) there() bool { return m.joins > 0 || m.lost > 0 }

// New is an empty table that keeps at most so many members whose connections were lost, or any number if mostLost is negative. Beyond
// that the oldest are given up early.
func New(mostLost int) *Table {
	return &Table{mostLost: mostLost, topics: map[string]*topic{}}
}

// Join makes user a member of the topic, once more if it is one. Each Join is taken back by one Leave. look says that Tell is to be
// called earlier than it would be.
func (t *Table) Join(name, user string, now time.Time) (look bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tp := t.topics[name]
	if tp == nil {
		tp = &topic{name: name, members: map[string]*member{}}
		t.topics[name] = tp
	}
	m := tp.members[user]
	if m == nil {
		m = &member{topic: tp, user: user}
		tp.members[user] = m
		t.held++
	}
	was := m.there()
	m.joins++
	if m.lost > 0 { // one of those that were lost, as far as anybody can tell
		if m.lost--; m.lost == 0 {
			t.lost.remove(m)
		}
	}
	if was {
		return false
	}
	tp.count++
	return t.changedLocked(m, now)
}

// Leave takes a Join back. With lost the member stays for Grace, unless it joins again. look is as Join's.
func (t *Table) Leave(name, user string, lost bool, now time.Time) (look bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.topics[name].members[user]
	m.joins--
	if lost {
		m.lost++
		m.until = now.Add(Grace)
		t.lost.remove(m)
		t.lost.push(m)
		if look = t.planLocked(m.until); t.mostLost >= 0 && t.lost.len > t.mostLost {
			look = t.giveUpLocked(t.lost.first, now) || look
		}
		return look
	}
	if m.there() {
		return false
	}
	m.topic.count--
	return t.changedLocked(m, now)
}

// giveUpLocked ends the waiting for the lost connections of m.
func (t *Table) giveUpLocked(m *member, now time.Time) (look bool) {
	t.lost.remove(m)
	m.lost = 0
	if m.there() {
		return false
	}
	m.topic.count--
	return t.changedLocked(m, now)
}

// changedLocked notes that m has come or gone.
func (t *Table) changedLocked(m *member, now time.Time) (look bool) {
	tp := m.topic
	if !m.listed {
		m.listed = true
		tp.changed = append(tp.changed, m)
	}
	if tp.queued {
		return false
	}
	t.soon.push(tp, now.Add(Gather))
	return t.planLocked(tp.due)
}

func (t *Table) planLocked(due time.Time) (look bool) {
	if !t.look.IsZero() && !due.Before(t.look) {
		return false
	}
	t.look = due
	return true
}

// Members is how many members a topic has, and who they are, sorted by their bytes, unless there are
// more than protocol.MaxUsers.
func (t *Table) Members(name string) (users []string, count int) {
	users, count = t.members(name)
	slices.Sort(users)
	return users, count
}

func (t *Table) members(name string) (users []string, count int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tp := t.topics[name]
	if tp == nil {
		return nil, 0
	}
	if tp.count > protocol.MaxUsers {
		return nil, tp.count
	}
	for _, m := range tp.changed { // whoever asks is told what differs from this, also if it is then again as it was told before
		if m.there() {
			m.shown = true
		} else {
			m.hidden = true
		}
	}
	users = make([]string, 0, tp.count)
	for user, m := range tp.members {
		if m.there() {
			users = append(users, user)
		}
	}
	return users, tp.count
}

// Size is how many topics the table holds and how many members they have, those included whose going has not been told.
func (t *Table) Size() (topics, members int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.topics), t.held
}
