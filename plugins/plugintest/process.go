package plugintest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
)

// drainTime is how long the output of an ended process is still read, when something else holds its end open.
const drainTime = 100 * time.Millisecond

// launch is how a process is started; the zero value is as a broker starts one.
type launch struct {
	byHand   bool     // as a person does, without the broker's word for it
	versions string   // of the contract; empty is the one that there is
	wrapper  []string // a program and its arguments that the plugin is started by
}

// process is the plugin from one start to its end. Its fields do not change once it is connected; kill and cut may be called by
// anybody.
type process struct {
	plugin  Plugin
	began   time.Time // the start
	sockets string    // the folder for its socket
	tls     *keys     // nil: without
	cmd     *exec.Cmd
	life    *os.File // the lifeline: the broker's end
	first   chan line
	output  *output

	handshake handshake
	conn      *grpc.ClientConn
	common    commonv1pb.PluginServiceClient
	auth      *wire.AuthClient
	store     *wire.StoreClient

	ctx    context.Context // ends with the process
	cancel context.CancelCauseFunc
	ended  chan struct{}
	heard  chan struct{}  // closed when all that it has printed is in output
	group  sync.WaitGroup // goroutines of its own
	killed sync.Once

	mu      sync.Mutex
	lifeCut bool
	closed  bool
}

// line is the first one on standard output, or why there is none.
type line struct {
	text string
	err  error
}

// spawn starts a process. It is closed by close.
func spawn(p Plugin, l launch) (*process, error) {
	in := &process{plugin: p, first: make(chan line, 1), output: &output{}, ended: make(chan struct{}), heard: make(chan struct{})}
	in.ctx, in.cancel = context.WithCancelCause(context.Background())
	var err error
	if in.sockets, err = os.MkdirTemp(shortTemp(), "cp-"); err != nil {
		return nil, err
	}
	if !p.Bundled {
		if in.tls, err = newKeys(); err != nil {
			return nil, err
		}
	}
	argv := append(slices.Clone(l.wrapper), append([]string{p.Path}, p.Args...)...)
	in.cmd = exec.Command(argv[0], argv[1:]...) //nolint:noctx // ends with its lifeline and its group, in close
	in.cmd.Env = in.environment(l)
	in.cmd.SysProcAttr = ownGroup()
	var pipes [3]pipe
	for i := range pipes {
		if pipes[i].r, pipes[i].w, err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	in.cmd.Stdin, in.cmd.Stdout, in.cmd.Stderr = pipes[0].r, pipes[1].w, pipes[2].w
	in.life = pipes[0].w
	in.began = time.Now()
	err = in.cmd.Start()
	for _, f := range []*os.File{pipes[0].r, pipes[1].w, pipes[2].w} {
		f.Close()
	}
	if err != nil {
		in.life.Close()
		os.RemoveAll(in.sockets)
		return nil, err
	}
	in.group.Go(func() {
		defer close(in.heard)
		var both sync.WaitGroup
		both.Go(func() { in.readStdout(pipes[1].r) })
		both.Go(func() { in.output.copy(pipes[2].r) })
		both.Wait()
	})
	in.group.Go(func() { in.reap(pipes[1].r, pipes[2].r) })
	return in, nil
}

type pipe struct{ r, w *os.File }

// shortTemp is a folder for temporary ones whose path leaves room for a socket's: 104 bytes in all.
func shortTemp() string {
	if dir := os.TempDir(); runtime.GOOS == "windows" || len(dir) <= 60 {
		return dir
	}
	return "/tmp"
}

// environment is all that the plugin gets (spec/plugin.md, Start).
func (in *process) environment(l launch) []string {
	var env []string
	for _, name := range []string{"HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "GORACE"} { // the last for plugins built with the race detector
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	path := "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if runtime.GOOS == "windows" {
		path = "PATH=" + os.Getenv("PATH")
		env = append(env, "SYSTEMROOT="+os.Getenv("SYSTEMROOT"), "TEMP="+os.TempDir(), "TMP="+os.TempDir())
	}
	env = append(env, path)
	if l.byHand {
		return env
	}
	if l.versions == "" {
		l.versions = fmt.Sprint(wire.ContractVersion)
	}
	env = append(env, wire.CookieKey+"="+wire.CookieValue, "PLUGIN_PROTOCOL_VERSIONS="+l.versions, "PLUGIN_UNIX_SOCKET_DIR="+in.sockets, wire.LogKey+"=info")
	if in.tls != nil {
		env = append(env, "PLUGIN_CLIENT_CERT="+in.tls.pem)
	}
	return env
}

func (in *process) readStdout(r *os.File) {
	buffered := bufio.NewReaderSize(r, maxHandshake)
	text, err := buffered.ReadSlice('\n')
	in.first <- line{string(text), err}
	if err != nil {
		in.output.add(string(text))
	}
	in.output.copy(buffered)
}

// reap waits for the end of the process.
func (in *process) reap(readers ...*os.File) {
	_ = in.cmd.Wait() // how it ended stands in its state
	for _, r := range readers {
		_ = r.SetReadDeadline(time.Now().Add(drainTime))
	}
	in.cancel(fmt.Errorf("the plugin has ended: %v", in.cmd.ProcessState))
	close(in.ended)
}

// wait reports whether the process ends within d.
func (in *process) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-in.ended:
		return true
	case <-timer.C:
		return false
	}
}

// how says how the process ended.
func (in *process) how() string {
	select {
	case <-in.ended:
		return in.cmd.ProcessState.String()
	default:
		return "it is still there"
	}
}

// cut ends the lifeline.
func (in *process) cut() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.lifeCut {
		in.lifeCut = true
		in.life.Close()
	}
}

// kill ends the process and its group without warning, and waits for it.
func (in *process) kill() {
	in.killed.Do(func() {
		if in.cmd == nil {
			return
		}
		killGroup(in.cmd.Process)
		<-in.ended
		killGroup(in.cmd.Process) // what it has forked meanwhile
	})
}

// close ends the process, whatever it is doing, and removes what it has left. It reports whether it is the first to do so.
func (in *process) close() bool {
	in.mu.Lock()
	first := !in.closed
	in.closed = true
	in.mu.Unlock()
	if !first {
		return false
	}
	in.kill()
	in.disconnect()
	if in.cmd != nil {
		in.cut()
		os.RemoveAll(in.sockets)
	}
	in.group.Wait()
	return true
}

func (in *process) disconnect() {
	in.cancel(errors.New("the case has ended"))
	if in.conn != nil {
		_ = in.conn.Close() // closed already is as good
	}
}

// dial connects to the plugin's socket.
func (in *process) dial(ctx context.Context, _ string) (net.Conn, error) {
	if in.plugin.Attach != "" {
		conn, _, err := wire.DialAttached(ctx, in.plugin.Attach)
		return conn, err
	}
	return (&net.Dialer{}).DialContext(ctx, in.handshake.network, in.handshake.address)
}

// output keeps the last lines of what a process prints.
type output struct {
	mu    sync.Mutex
	lines []string
}

// Bounds of what is kept.
const (
	maxLines = 12
	maxLine  = 300
)

func (o *output) copy(r io.Reader) {
	buffered := bufio.NewReaderSize(r, 4<<10)
	for {
		text, err := buffered.ReadSlice('\n')
		if o.add(string(text)); err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (o *output) add(text string) {
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	if len(text) > maxLine {
		text = text[:maxLine] + " …"
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lines = append(o.lines, text); len(o.lines) > maxLines {
		o.lines = o.lines[1:]
	}
}

func (o *output) last() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.lines)
}
