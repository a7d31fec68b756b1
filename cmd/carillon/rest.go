package main

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	restLook  = time.Second
	restBurst = 200 // sessions that came or went
)

// collectAtRest gives memory back after a burst of connections. A burst leaves garbage, about as much as the connections
// themselves hold, and a process that is idle afterwards would keep it for minutes. It collects once when sessions have
// come or gone and then been still for two looks; ctx ends it.
func collectAtRest(ctx context.Context, sessions func() int64) {
	tick := time.NewTicker(restLook)
	defer tick.Stop()
	settled, last, still := sessions(), sessions(), 0
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := sessions()
		if now != last {
			last, still = now, 0
			continue
		}
		if still++; still == 2 && max(now-settled, settled-now) >= restBurst {
			settled = now
			debug.FreeOSMemory()
		}
	}
}
