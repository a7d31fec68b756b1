package badinput

import (
	"time"

	"github.com/carillon-mq/carillon/internal/require"
)

// The bounds of the corpus are those of a machine with nothing else to do. The campaign, which has the machine to itself and does one thing
// after the other, holds them as they are. In the gate much else goes on at the same time, and they are as wide as stands here.
var (
	startMost  = require.Bound(5*time.Second, 6)       // until a broker that does not start has ended (NS)
	settleTime = require.Bound(5*time.Second, 2)       // until descriptors, goroutines and memory are as before (U4, U5)
	canaryMost = require.Bound(50*time.Millisecond, 1) // p99 of the canary (U2), to which the gate adds quietTimes
)

// quietTimes is how many times the p99 of a canary whose broker is left alone at the same time is added to canaryMost.
func quietTimes() time.Duration {
	if require.Campaign() {
		return 0
	}
	return 4
}

// atATime is how many tests run at once: these tests wait more than they work.
func atATime() string {
	if require.Campaign() {
		return "1"
	}
	return "16"
}

// casesALook is how many cases that change nothing come between two looks at what is kept (U3).
func casesALook() int { return count(10, 1) }
