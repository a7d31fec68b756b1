package outlet

import "sync"

// Group waits for the goroutines of a door's connections. Unlike with a sync.WaitGroup, connections may come while somebody waits: those
// that have come when Wait finds none left are not waited for. The zero value is ready.
type Group struct {
	mu   sync.Mutex
	n    int
	none *sync.Cond // made by Wait
}

// Go runs f in a goroutine of the group.
func (g *Group) Go(f func()) {
	g.mu.Lock()
	g.n++
	g.mu.Unlock()
	go func() {
		defer g.done()
		f()
	}()
}

func (g *Group) done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.none != nil {
		g.none.Broadcast()
	}
}

// Wait returns when no goroutine of the group is left.
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
