package require

import (
	"os"
	"strconv"
	"time"
)

// Rounds is how often a test does what it does: gate times in the gate, campaign times with CARILLON_CAMPAIGN=1, and CARILLON_COUNT times if
// that is set.
func Rounds(gate, campaign int) int {
	if n, err := strconv.Atoi(os.Getenv("CARILLON_COUNT")); err == nil {
		return n
	}
	if os.Getenv("CARILLON_CAMPAIGN") != "" {
		return campaign
	}
	return gate
}

// Campaign says that the machine has nothing else to do, so that times mean something.
func Campaign() bool { return Rounds(0, 1) > 0 }

// Bound is how long something may take: quiet in a campaign, and busy times that in the gate, where much else goes on.
func Bound(quiet time.Duration, busy int) time.Duration {
	if Campaign() {
		return quiet
	}
	return quiet * time.Duration(busy)
}
