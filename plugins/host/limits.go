package host

import (
	"errors"
	"fmt"
	"time"
)

// Limits bound what a plugin's process, and each process that it forks, may take of the machine; 0 is no bound of its own. The
// system applies them before the first instruction of the plugin runs. They are for Linux.
type Limits struct {
	// Memory is what it may have of memory of its own, in bytes (RLIMIT_DATA). Beyond it the plugin is refused more, and most
	// programs then end. Programs that reserve much and use little, as Go's and Node's do, are not hurt by it.
	Memory int64
	// AddressSpace is what it may have mapped, reserved or used, in bytes (RLIMIT_AS). Go programs need more than 1 GiB of it.
	AddressSpace int64
	// OpenFiles is how many descriptors it may have open (RLIMIT_NOFILE).
	OpenFiles int64
	// CPU is how long it may compute until the system kills it (RLIMIT_CPU), in whole seconds: over its whole life.
	CPU time.Duration
	// Processes is how many processes and threads the user whom it runs as may have, those of other programs included, when it
	// wants one more (RLIMIT_NPROC). It does not bind root.
	Processes int64
}

var errNoLimits = errors.New("limits of a plugin's process are for Linux only")

func (l Limits) check() error {
	for name, n := range map[string]int64{
		"Memory": l.Memory, "AddressSpace": l.AddressSpace, "OpenFiles": l.OpenFiles, "CPU": int64(l.CPU), "Processes": l.Processes,
	} {
		if n < 0 {
			return fmt.Errorf("limits of the process: %s is %d, wanted 0 or more", name, n)
		}
	}
	if l.CPU%time.Second != 0 {
		return fmt.Errorf("limits of the process: CPU is %v, wanted whole seconds", l.CPU)
	}
	if l != (Limits{}) && !canLimit {
		return errNoLimits
	}
	return nil
}
