package host

import (
	"sync"
	"time"
)

// pace is whether a process runs or stands still because a signal (SIGSTOP) stopped it. Only Linux tells. It is safe for
// concurrent use.
type pace struct {
	mu      sync.Mutex
	stopped time.Time     // zero while it runs
	changed chan struct{} // closed with the next change; nil until somebody waits for it
}

// now returns since when the process stands still, zero if it runs, and a channel that is closed when that changes.
func (p *pace) now() (stopped time.Time, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.stopped, p.changed
}

func (p *pace) set(stopped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stopped != p.stopped.IsZero() {
		return // it has been told before
	}
	p.stopped = time.Time{}
	if stopped {
		p.stopped = time.Now()
	}
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}
