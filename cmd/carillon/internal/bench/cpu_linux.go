package bench

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf is the CPU time of all threads of pid, those that have ended included, by the clock that the kernel has for each process.
func cpuOf(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED, see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// sleepUntil lets the client's clock come to ns. The runtime's timers are to a millisecond only while nothing else happens.
func sleepUntil(ns int64) {
	for {
		left := ns - clock()
		if left <= 0 {
			return
		}
		t := unix.NsecToTimespec(left)
		_ = unix.Nanosleep(&t, nil) // a signal: the clock is looked at again
	}
}
