//go:build unix && !linux

package host

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttributes puts the plugin into a process group of its own.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func slackenTimers() {}

// killGroup kills the process and whatever it has forked into its group.
func killGroup(leader *os.Process) {
	_ = unix.Kill(-leader.Pid, unix.SIGKILL) // gone already is as good
}

// await waits for the end of the process and kills the rest of its group.
func (p *process) await() error {
	err := p.cmd.Wait()
	close(p.over)
	p.mu.Lock()
	defer p.mu.Unlock()
	killGroup(p.cmd.Process)
	p.reaped = true
	return err
}
