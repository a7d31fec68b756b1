package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// drainTimeout is how long the output of an ended process is still read, when something else holds its end open.
const drainTimeout = 50 * time.Millisecond

// errNoLine is a plugin whose standard output went beyond maxHandshake before its first newline.
var errNoLine = errors.New("no handshake as the first line on standard output")

// errSpawn is a process that the system did not start.
var errSpawn = errors.New("cannot be started")

// process is the plugin's process, as go-plugin's Runner. go-plugin sees the first line of standard output and nothing else.
type process struct {
	spawner *spawner
	output  *output
	onStart func(pid int)
	onEnd   func(error)

	image *image
	env   []string
	dir   string // go-plugin's folder for the plugin's socket
	mtls  bool

	limits Limits

	network, address string // of the plugin's socket, once it has said so

	lineR *io.PipeReader // the first line of standard output
	lineW *io.PipeWriter

	pumps sync.WaitGroup
	over  chan struct{} // the process has ended, which is known before it has been waited for
	ended chan struct{} // the process has been waited for, its group killed, its output read
	pace  pace

	mu        sync.Mutex
	cmd       *exec.Cmd // nil until started
	lifeline  *os.File
	doomed    bool  // killed, perhaps before it was started or after it had ended
	killed    bool  // by this host, while it ran
	reaped    bool  // its pid may belong to another process by now
	exitErr   error // how it ended
	handshake error // what was wrong with its first line
}

var _ runner.Runner = (*process)(nil)

func newProcess(h *Host, o *output) *process {
	p := &process{spawner: h.spawner, output: o, over: make(chan struct{}), ended: make(chan struct{})}
	p.lineR, p.lineW = io.Pipe()
	return p
}

// prepare is called before Start.
func (p *process) prepare(image *image, env []string, dir string, mtls bool) {
	p.image, p.env, p.dir, p.mtls = image, env, dir, mtls
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doomed {
		return errClosed
	}
	pipes, err := openPipes()
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{
		Path: p.image.path, Args: p.image.args, Env: p.env, ExtraFiles: p.image.files,
		Stdin: pipes.childIn, Stdout: pipes.childOut, Stderr: pipes.childErr, SysProcAttr: childAttributes(),
	}
	err = p.spawner.do(func() error { return startLimited(cmd, p.limits) })
	pipes.closeChildEnds()
	if err != nil {
		pipes.closeOurEnds()
		return fmt.Errorf("%s %w: %w", p.image.name, errSpawn, explainSpawn(err))
	}
	p.cmd, p.lifeline = cmd, pipes.lifeline
	p.output.begin()
	p.onStart(cmd.Process.Pid)
	p.pumps.Go(func() { p.pumpStdout(pipes.out) })
	p.pumps.Go(func() { copyLines(p.output, pipes.err) })
	go p.reap(pipes) // wait waits for it
	return nil
}

// explainSpawn says what the system's short words for a file that it does not execute mean most often.
func explainSpawn(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err // its path may be that of a descriptor
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; may it be executed (chmod +x), and is its folder on a file system that allows that?", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; is it there, and so is the interpreter that a script's first line names, on the plugin's PATH?", err)
	}
	return err
}

// reap waits for the process, takes the rest of its group with it, reads what it printed last, and says how it ended.
func (p *process) reap(pipes *pipes) {
	err := p.await()
	_ = pipes.out.SetReadDeadline(time.Now().Add(drainTimeout))
	_ = pipes.err.SetReadDeadline(time.Now().Add(drainTimeout))
	_ = p.lineR.Close()
	p.pumps.Wait()
	if state := p.cmd.ProcessState; state != nil {
		err = errors.New(state.String())
	}
	if words := p.output.lastWords(); words != "" {
		err = fmt.Errorf("%w: %s", err, words)
	}
	p.mu.Lock()
	p.exitErr = err
	p.mu.Unlock()
	pipes.closeOurEnds()
	p.onEnd(err)
	close(p.ended)
}

// pumpStdout gives the first line to go-plugin, if it is a handshake, and takes the rest for text. Without one go-plugin gives
// up: at once after a wrong line, and when the process has ended (or the start has taken too long) after none.
func (p *process) pumpStdout(r io.Reader) {
	buffered := bufio.NewReaderSize(r, maxHandshake)
	line, err := buffered.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		p.refuse(fmt.Errorf("%w but %d bytes that begin with %q", errNoLine, len(line), printable(string(line[:80]), 80)))
	case err != nil:
		p.output.print(line)
		return
	default:
		if fault := checkHandshake(string(line), p.dir, p.mtls); fault != nil {
			p.refuse(fault)
			break
		}
		_, _ = p.lineW.Write(line)
		_ = p.lineW.Close()
	}
	copyLines(p.output, buffered)
}

// refuse notes what was wrong with the first line and ends go-plugin's wait for it.
func (p *process) refuse(fault error) {
	p.mu.Lock()
	p.handshake = fault
	p.mu.Unlock()
	_ = p.lineW.Close()
}

// fault is what was wrong with the handshake; nil if nothing was so far.
func (p *process) fault() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.handshake
}

// ownEnd is how the process ended, waiting up to d for that; nil if it runs or was killed by this host.
func (p *process) ownEnd(d time.Duration) error {
	if !p.wait(d) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.killed && !p.cmd.ProcessState.Exited() {
		return nil
	}
	return p.exitErr
}

// exit is how the process ended; nil while it runs.
func (p *process) exit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exitErr
}

// kill ends the process and all of its group, now or as soon as it starts.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed = true
	if p.cmd != nil && !p.reaped {
		p.killed = true
		killGroup(p.cmd.Process)
	}
}

// cutLifeline closes the process's standard input.
func (p *process) cutLifeline() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lifeline.Close()
}

// wait reports whether the process ended within d, or was never started.
func (p *process) wait(d time.Duration) bool {
	p.mu.Lock()
	started := p.cmd != nil
	p.mu.Unlock()
	if !started {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
		return false
	}
}

// Wait implements runner.Runner.
func (p *process) Wait(context.Context) error {
	<-p.ended
	return p.exit()
}

// Kill implements runner.Runner.
func (p *process) Kill(context.Context) error {
	p.kill()
	return nil
}

// ID implements runner.Runner.
func (p *process) ID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return ""
	}
	return strconv.Itoa(p.cmd.Process.Pid)
}

// Name implements runner.Runner.
func (p *process) Name() string { return p.image.name }

// Diagnose implements runner.Runner.
func (p *process) Diagnose(context.Context) string { return "" }

// Stdout implements runner.Runner: the first line and no more.
func (p *process) Stdout() io.ReadCloser { return p.lineR }

// Stderr implements runner.Runner: nothing, it goes to the output.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// PluginToHost implements runner.Runner. It is asked before anything is connected to.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	p.network, p.address = network, address
	return network, address, checkAddress(network, address, p.dir)
}

// dial connects to the plugin.
func (p *process) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, p.network, p.address)
	if err != nil {
		return nil, err
	}
	return quiet(conn), nil
}

// HostToPlugin implements runner.Runner.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
