package host

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttributes puts the plugin into a process group of its own and ends it with the thread that starts it (see spawner).
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup kills the process and whatever it has forked into its group.
func killGroup(leader *os.Process) {
	_ = unix.Kill(-leader.Pid, unix.SIGKILL) // gone already is as good
}

// await waits for the end of the process. It is noticed without collecting it first, so that the group's id still belongs to it
// when the rest of the group is killed.
func (p *process) await() error {
	var err error
	for {
		err = unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		killGroup(p.cmd.Process)
	}
	p.reaped = true
	return p.cmd.Wait()
}
