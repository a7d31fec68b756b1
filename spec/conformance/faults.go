package conformance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// What the broker of a script does wrong to packets of a name. Anything else is how much later they come.
const (
	faultLost    = "lost"    // they do not come
	faultTwice   = "twice"   // they come two times, one behind the other
	faultSwapped = "swapped" // the next packet overtakes them
)

// faults are what becomes of the packets that a script sends to an SDK.
type faults struct {
	by   map[string]fault
	held map[*conn][]byte // what the next packet overtakes

	late sync.WaitGroup // those that are on their way
}

type fault struct {
	kind string
	late time.Duration
}

// parseFaults reads what a script says of packets by their names.
func parseFaults(written map[string]string) (map[string]fault, error) {
	by := map[string]fault{}
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if f := forms.byName[name]; f == nil || !f.server {
			return nil, fmt.Errorf("faults: %s is no packet of a server", name)
		}
		switch kind := written[name]; kind {
		case faultLost, faultTwice, faultSwapped:
			by[name] = fault{kind: kind}
		default:
			d, err := time.ParseDuration(kind)
			if err != nil || d <= 0 {
				return nil, fmt.Errorf("faults: %s: found %q, wanted lost, twice, swapped or how much later", name, kind)
			}
			by[name] = fault{late: d}
		}
	}
	return by, nil
}

// change has packets suffer something else from now on. What is late comes before that, so that a script knows behind what it came.
func (f *faults) change(written map[string]string) error {
	by, err := parseFaults(written)
	if err != nil {
		return err
	}
	f.late.Wait()
	f.by, f.held = by, map[*conn][]byte{}
	return nil
}

// pass returns what goes out on c now in place of a packet of that name. What goes out later does so until ctx ends, and if the connection
// has not ended before.
func (f *faults) pass(ctx context.Context, c *conn, name string, packet []byte) []byte {
	what := f.by[name]
	held := f.held[c]
	switch {
	case what.kind == faultLost:
		return nil
	case what.late > 0:
		f.late.Go(func() { c.writeLate(ctx, packet, what.late) })
		return nil
	case what.kind == faultSwapped && held == nil:
		f.held[c] = packet
		return nil
	case what.kind == faultTwice:
		packet = slices.Concat(packet, packet)
	}
	delete(f.held, c)
	return append(slices.Clip(packet), held...)
}

// writeLate sends a message when so much time has passed.
func (c *conn) writeLate(ctx context.Context, b []byte, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		c.log.add(c.name, "sent late", fmt.Sprintf("%x", b[:min(len(b), 64)]))
		c.write(ctx, websocket.MessageBinary, b, 1)
	case <-c.ended: // and what was on its way with it
	case <-ctx.Done():
	}
}
