//go:build !race

package require

// RaceDetector says whether the race detector watches: allocations then mean nothing, and processes take long to start.
const RaceDetector = false
