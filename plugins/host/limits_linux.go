package host

import (
	"errors"
	"fmt"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

const canLimit = true

// startLimited starts cmd under limits. A process that is traced stands still when it has been executed and before its first
// instruction: there it is given its limits, and let go. Called on the spawner's thread, which is the tracer.
func startLimited(cmd *exec.Cmd, l Limits) error {
	if l == (Limits{}) {
		return cmd.Start()
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return err
	}
	err := limitStopped(cmd.Process.Pid, l)
	if err != nil {
		killGroup(cmd.Process)
		_ = cmd.Wait() // it was killed: that is no news
		return fmt.Errorf("limits of the process: %w", err)
	}
	return nil
}

// limitStopped gives a traced child that is about to stop its limits, and lets it go.
func limitStopped(pid int, l Limits) error {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	if !status.Stopped() {
		return fmt.Errorf("the process does not stand still: %v", status)
	}
	for resource, most := range map[int]int64{
		unix.RLIMIT_DATA: l.Memory, unix.RLIMIT_AS: l.AddressSpace, unix.RLIMIT_NOFILE: l.OpenFiles,
		unix.RLIMIT_CPU: int64(l.CPU / time.Second), unix.RLIMIT_NPROC: l.Processes,
	} {
		if most <= 0 {
			continue
		}
		if err := limit(pid, resource, uint64(most)); err != nil {
			return err
		}
	}
	return unix.PtraceDetach(pid)
}

// limit sets a limit, soft and hard; one that the process has already and that is lower stays.
func limit(pid, resource int, most uint64) error {
	var has unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &has); err != nil {
		return err
	}
	most = min(most, has.Max)
	return unix.Prlimit(pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil)
}
