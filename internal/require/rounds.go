package require

import (
	"os"
	"strconv"
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
