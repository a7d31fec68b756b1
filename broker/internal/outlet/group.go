package outlet

import "sync"

// Group waits for a door's connections and their goroutines. Unlike with a sync.WaitGroup, connections may come while somebody waits: those
// that have come when Wait finds none left are not waited for. The zero value is ready.
type Group struct {
	mu   sync.Mutex
	n    int
	none *sync.Cond // made by Wait
}

// Go runs f in a goroutine of the group.
func (g *Group) Go(f func()) {
	g.Add()
	go func() {
		defer g.Done()
		f()
	}()
}

// Add counts something in that is waited for until Done.
func (g *Group) Add() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
}

// Done counts it out.
func (g *Group) Done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.none != nil {
		g.none.Broadcast()
	}
}

// Wait returns when nothing of the group is left.
func (g *Group) Wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.none == nil {
		g.none = sync.NewCond(&g.mu)
	}
	for g.n > 0 {
		g.none.Wait()
	}
}
