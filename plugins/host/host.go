// Package host runs plugins as processes of their own and keeps them running.
//
//	New -> Host.Auth, Host.Store -> supervised.run: begin -> tend -> left -> stop -> rest -> begin …
//
// begin starts a process, tend watches it and lets another one take its place when Host.Reload asks for it (replace.go). A start
// (start.go) checks the file (image.go), starts the process (process.go) as go-plugin's Runner, reads its handshake
// (handshake.go), and goes through Describe, the check of the configuration (config.go), Configure and Health. From then on
// Auth and Store, which stay the same objects across restarts, hand their calls to the present process (ports.go).
//
// A plugin is not trusted: what it prints is bounded and escaped (output.go), its answers are checked by plugins/internal/wire,
// every wait for it has an end, and it is ended as a process group. It does not outlive the host: Linux ends it with the
// thread that started it (spawner.go), and its standard input, which the kit watches, ends with the host on every system.
//
// Lock order: Host.adding, process.mu, supervised.mu, Host.mu. No lock is held while a plugin is called.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

// ErrUnavailable is the answer of a call while the plugin is away. It is given at once.
var ErrUnavailable = errors.New("the plugin is not available")

// The kinds of plugins.
const (
	KindAuth  = wire.KindAuth
	KindStore = wire.KindStore
)

// Options are a host's settings. The zero value works.
type Options struct {
	// Dir is the folder for sockets: 0700 and the host's alone, at most 64 bytes long. It is made if it does not exist, and
	// what an earlier host left in it is removed. Empty: a new folder in the system's temporary one (/tmp if
	// that has too long a path), removed by Close.
	Dir    string
	Logger *slog.Logger
	// PassEnv names variables of the host's environment that plugins get, beside HOME, TMPDIR, TZ, LANG and LC_ALL.
	PassEnv []string

	StartTimeout  time.Duration // 10 s: from the start of the process to the first good Health
	HealthEvery   time.Duration // 1 s
	HealthTimeout time.Duration // 1 s: deadline of a Health call
	HealthMisses  int           // 3: missed Health calls in a row after which the process is killed
	BackoffMin    time.Duration // 0.1 s: wait before the first restart, doubled for each further one, with jitter
	BackoffMax    time.Duration // 30 s
	HealthyAfter  time.Duration // 2 s: a plugin that was ready this long starts again with BackoffMin
	StopTimeout   time.Duration // 5 s: what a plugin has to end when it is asked to, before it is killed
	DrainTimeout  time.Duration // 10 s: what a plugin that was replaced has to answer what it was asked before
	CrashBudget   int           // 20: more ends than this within CrashWindow, and it is Failed and left alone for a CrashWindow; below 0: no bound
	CrashWindow   time.Duration // 10 min
}

func (o Options) withDefaults() Options {
	setDefault(&o.StartTimeout, 10*time.Second)
	setDefault(&o.HealthEvery, time.Second)
	setDefault(&o.HealthTimeout, time.Second)
	setDefault(&o.HealthMisses, 3)
	setDefault(&o.BackoffMin, 100*time.Millisecond)
	setDefault(&o.BackoffMax, 30*time.Second)
	setDefault(&o.HealthyAfter, 2*time.Second)
	setDefault(&o.StopTimeout, 5*time.Second)
	setDefault(&o.DrainTimeout, 10*time.Second)
	setDefault(&o.CrashBudget, 20)
	setDefault(&o.CrashWindow, 10*time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Spec names a plugin to run.
type Spec struct {
	Name string // of this use of the plugin, unique in the host: 1 to 64 bytes of a-z, 0-9 and "-"
	Kind string // KindAuth or KindStore; Auth and Store fill it in

	// Path is the executable. Empty with Bundled: this very program.
	Path string
	// Args are its arguments. nil with Bundled: "plugin-serve" and the Name.
	Args []string
	// Attach is where a plugin listens that somebody else has started, under a debugger: unix:/path. There is no Path then and no Bundled.
	// The host connects to it, again and again when it is away, and never ends it; the only deadlines are those of callers.
	Attach string
	// SHA256 is the executable's checksum in hex. Empty: it is not checked.
	SHA256 string
	// Bundled says that the plugin is part of this program, so that no TLS is needed between the two.
	Bundled bool
	// Config is the plugin's configuration, a JSON object. nil: an empty one.
	Config []byte
	// StartTimeout bounds each start, from the process to the first good Health. 0: the host's.
	StartTimeout time.Duration
	// CrashBudget and CrashWindow are the host's where they are 0.
	CrashBudget int
	CrashWindow time.Duration
	// Limits bound what the process may take of the machine. Zero: what the host has itself.
	Limits Limits

	shadow bool
}

// budget is how many ends within which window are taken.
func (s *Spec) budget(o *Options) (most int, window time.Duration) {
	most, window = s.CrashBudget, s.CrashWindow
	setDefault(&most, o.CrashBudget)
	setDefault(&window, o.CrashWindow)
	return most, window
}

// Host runs plugins. Its methods may be called concurrently.
type Host struct {
	opt     Options
	folder  *folder
	spawner *spawner
	ctx     context.Context // ends when the plugins are to stop
	stop    context.CancelCauseFunc
	group   sync.WaitGroup // one supervised.run each

	adding sync.Mutex // held while a plugin is added, for its name

	mu      sync.Mutex
	closed  bool
	plugins []*supervised
	changed chan struct{}   // closed, and replaced, when a Status has changed
	grace   context.Context // bounds the graceful end; set by Close
}

var errClosed = errors.New("the plugin host is closed")

// New makes a host without plugins. It fails if Options.Dir is not fit to hold sockets or is in use by another host.
func New(o Options) (*Host, error) {
	o = o.withDefaults()
	folder, err := openFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	h := &Host{opt: o, folder: folder, spawner: newSpawner(), changed: make(chan struct{})}
	h.ctx, h.stop = context.WithCancelCause(context.Background())
	return h, nil
}

// Auth starts an auth plugin and supervises it until Close. It returns at once; Auth.Wait waits for the plugin.
func (h *Host) Auth(s Spec) (*Auth, error) {
	p, err := h.add(s, KindAuth)
	if err != nil {
		return nil, err
	}
	return &Auth{p: p}, nil
}

// Store starts a store plugin and supervises it until Close. It returns at once; Store.Wait waits for the plugin.
func (h *Host) Store(s Spec) (*Store, error) {
	p, err := h.add(s, KindStore)
	if err != nil {
		return nil, err
	}
	return &Store{p: p}, nil
}

func (h *Host) add(s Spec, kind string) (*supervised, error) {
	if s.Kind == "" {
		s.Kind = kind
	}
	if s.Kind != kind {
		return nil, fmt.Errorf("plugin %s is of kind %q, wanted %q", s.Name, s.Kind, kind)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	h.adding.Lock()
	defer h.adding.Unlock()
	if h.find(s.Name) != nil {
		return nil, fmt.Errorf("plugin %s is there twice", s.Name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosed
	}
	p := newSupervised(h, s)
	ctx, cancel := context.WithCancelCause(h.ctx)
	p.cancel = cancel
	h.plugins = append(h.plugins, p)
	h.group.Go(func() {
		defer cancel(nil)
		p.run(ctx)
	})
	return p, nil
}

// remove ends a plugin, waits for that and forgets it.
func (h *Host) remove(p *supervised) {
	p.cancel(errReplaced)
	<-p.ended
	h.mu.Lock()
	h.plugins = slices.DeleteFunc(slices.Clone(h.plugins), func(other *supervised) bool { return other == p })
	h.mu.Unlock()
	h.announce()
}

func (s *Spec) check() error {
	if !validName(s.Name) {
		return fmt.Errorf("plugin name %q: wanted 1 to 64 bytes of a-z, 0-9 and \"-\"", printable(s.Name, 80))
	}
	if s.attached() {
		return s.checkAttach()
	}
	if s.Path == "" && !s.Bundled {
		return fmt.Errorf("plugin %s has no path", s.Name)
	}
	if s.SHA256 != "" && !validSum(s.SHA256) {
		return fmt.Errorf("plugin %s: sha256 must be 64 hex digits", s.Name)
	}
	if s.SHA256 != "" && s.Path == "" {
		return fmt.Errorf("plugin %s is bundled and has no file of its own to check", s.Name)
	}
	return s.Limits.check()
}

func validName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// List is the state of all plugins, in the order in which they were added.
func (h *Host) List() []Status {
	h.mu.Lock()
	plugins := slices.Clone(h.plugins)
	h.mu.Unlock()
	list := make([]Status, len(plugins))
	for i, p := range plugins {
		list[i] = p.Status()
	}
	return list
}

// Changed returns a channel that is closed when the Status of any plugin next changes. To miss nothing, take the channel
// first and look second.
func (h *Host) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

func (h *Host) announce() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.changed)
	h.changed = make(chan struct{})
}

// Close asks every plugin to end, kills those that have not by Options.StopTimeout or the end of ctx, waits until all are gone
// and removes their sockets. Calls of Auth and Store fail from its beginning. It is safe to call more than once.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	if first {
		h.grace = ctx
	}
	h.mu.Unlock()
	h.stop(errClosed)
	h.group.Wait()
	if !first {
		return nil
	}
	h.spawner.close()
	var left []string
	for _, s := range h.List() {
		if s.PID != 0 {
			left = append(left, fmt.Sprintf("%s (pid %d)", s.Name, s.PID))
		}
	}
	err := h.folder.close()
	if left != nil {
		return fmt.Errorf("not ended although killed: %s", strings.Join(left, ", "))
	}
	return err
}

// stopping returns the context that bounds the graceful end of a plugin.
func (h *Host) stopping() (context.Context, context.CancelFunc) {
	h.mu.Lock()
	ctx := h.grace
	h.mu.Unlock()
	if ctx == nil {
		ctx = context.Background()
	}
	return context.WithTimeout(ctx, h.opt.StopTimeout)
}

// autoMTLS reports whether the connection to a plugin is to be encrypted and both ends proven to be what they are. Where
// sockets are files in a folder that only this user can enter, a part of this very program needs none of it.
func (s *Spec) autoMTLS() bool { return !s.Bundled || runtime.GOOS == "windows" }
