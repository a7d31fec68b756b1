//go:build !unix

package host

import (
	"os"
	"syscall"
)

func childAttributes() *syscall.SysProcAttr { return nil }

func slackenTimers() {}

// killGroup kills the process alone: there are no process groups here.
func killGroup(leader *os.Process) { _ = leader.Kill() }

// await waits for the end of the process.
func (p *process) await() error {
	err := p.cmd.Wait()
	close(p.over)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	return err
}
