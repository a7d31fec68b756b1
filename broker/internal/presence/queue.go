package presence

import "time"

// queue is topics by when they are due: each is put in with the same delay, so the first one is the next.
type queue struct{ first, last *topic }

func (q *queue) push(tp *topic, due time.Time) {
	tp.queued, tp.due, tp.next = true, due, nil
	if q.last == nil {
		q.first = tp
	} else {
		q.last.next = tp
	}
	q.last = tp
}

// pop takes the first topic out if it is due, else nil.
func (q *queue) pop(now time.Time) *topic {
	tp := q.first
	if tp == nil || tp.due.After(now) {
		return nil
	}
	if q.first = tp.next; q.first == nil {
		q.last = nil
	}
	tp.queued, tp.next = false, nil
	return tp
}

// lostList is members whose connections were lost, by when they are given up. A member is in it once at most.
type lostList struct {
	first, last *member
	len         int
}

func (l *lostList) push(m *member) {
	m.before = l.last
	if l.last == nil {
		l.first = m
	} else {
		l.last.behind = m
	}
	l.last = m
	l.len++
}

// remove takes m out if it is in.
func (l *lostList) remove(m *member) {
	if m.before == nil && l.first != m {
		return
	}
	if m.before == nil {
		l.first = m.behind
	} else {
		m.before.behind = m.behind
	}
	if m.behind == nil {
		l.last = m.before
	} else {
		m.behind.before = m.before
	}
	m.before, m.behind = nil, nil
	l.len--
}
