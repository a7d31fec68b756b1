//go:build unix

package plugintest

import (
	"errors"
	"os"
	"syscall"
)

// ownGroup puts the plugin into a process group of its own.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the process and whatever it has forked into its group.
func killGroup(leader *os.Process) {
	_ = syscall.Kill(-leader.Pid, syscall.SIGKILL) // gone already is as good
}

// groupLeft reports whether anything is left of the process's group.
func groupLeft(leader *os.Process) bool {
	return !errors.Is(syscall.Kill(-leader.Pid, 0), syscall.ESRCH)
}

// terminate sends what a service manager sends to everybody.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
