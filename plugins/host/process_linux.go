package host

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childAttributes puts the plugin into a process group of its own and ends it with the thread that starts it (see spawner).
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// timerSlack is how much later than asked the system may end a plugin's short sleeps.
const timerSlack = 500 * time.Microsecond

// slackenTimers sets the slack of the thread's timers, which a process that it starts inherits. While a Go program works in short
// bursts, its runtime looks after it every 20 µs, and each look costs a change of the thread. A plugin waits for the network and for
// its disk, not for a clock.
func slackenTimers() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack.Nanoseconds()), 0, 0, 0) // without it everything works as well
}

// killGroup kills the process and whatever it has forked into its group.
func killGroup(leader *os.Process) {
	_ = unix.Kill(-leader.Pid, unix.SIGKILL) // gone already is as good
}

// await waits for the end of the process, and notes when a signal stops it and when it goes on. The end is noticed without
// collecting it first, so that the group's id still belongs to it when the rest of the group is killed.
func (p *process) await() error {
	pid := p.cmd.Process.Pid
	var err error
	for {
		var change unix.Siginfo
		err = waitid(pid, unix.WEXITED|unix.WSTOPPED|unix.WCONTINUED|unix.WNOWAIT, &change)
		if err != nil || change.Code != cldStopped && change.Code != cldContinued {
			break // it has ended
		}
		// What is collected may be a later change than the one that was seen; of a process that has ended meanwhile there is none.
		if waitid(pid, unix.WSTOPPED|unix.WCONTINUED|unix.WNOHANG, &change) == nil && change.Signo != 0 {
			p.pace.set(change.Code == cldStopped)
		}
	}
	close(p.over)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		killGroup(p.cmd.Process)
	}
	p.reaped = true
	return p.cmd.Wait()
}

// The si_code of a child that a signal has stopped, and of one that goes on, waitid(2).
const (
	cldStopped   = 5
	cldContinued = 6
)

func waitid(pid, options int, change *unix.Siginfo) error {
	for {
		if err := unix.Waitid(unix.P_PID, pid, change, options, nil); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
