package plugintest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
)

// About is what a plugin says of itself.
type About struct {
	Name, Version, Kind string
	Capabilities        []string
	Schema              string
	config              string // with {dir}
}

// Has reports whether the plugin announces p.
func (a *About) Has(p broker.Power) bool { return slices.Contains(a.Capabilities, string(p)) }

// StartError is a plugin that can't be tested: it does not come to the point where it may be called.
type StartError struct {
	Step  string // that failed: start, handshake, connect, describe, configure, health
	Err   error
	Words []string // what the plugin printed last
}

// Error says what failed, what the plugin printed, and what to do.
func (e *StartError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the plugin does not start: %s: %v", e.Step, e.Err)
	for _, line := range e.Words {
		fmt.Fprintf(&b, "\n  it printed: %s", line)
	}
	if hint := e.hint(); hint != "" {
		fmt.Fprintf(&b, "\n  %s", hint)
	}
	return b.String()
}

// hint is what to do.
func (e *StartError) hint() string {
	if late, is := errors.AsType[*lateError](e.Err); is {
		return fmt.Sprintf("From the start of the process to the first good Health a broker waits no longer (%s.start_timeout): spec/plugin.md, Start.",
			cmp.Or(late.kind, "auth.start_timeout, store")) + late.hint(e.Step)
	}
	if text := e.Err.Error(); e.Step == "describe" && strings.Contains(text, "authentication handshake failed") {
		return certificateHint
	}
	return startHints[e.Step]
}

const certificateHint = "The plugin makes its own certificate at each start: self-signed, with DNS:localhost as subject alternative name (a common name " +
	"alone is refused), the one that is the last field of the handshake: spec/plugin.md, Start."

// Unwrap is the step's error.
func (e *StartError) Unwrap() error { return e.Err }

var startHints = map[string]string{
	"start": "Is that the file, may it be executed (chmod +x), and does the first line of a script name an interpreter that is on " +
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin?",
	"handshake": "Listen first, then print 1|1|unix|ADDRESS|grpc|CERTIFICATE as the very first line of standard output, and flush it: spec/plugin.md, Start.",
	"connect":   "What listens at the address of the handshake has to speak gRPC: spec/plugin.md, Start.",
	"describe":  "Serve carillon.plugin.common.v1.PluginService: spec/plugin/common/v1/common.proto.",
	"configure": "Give a configuration that is right with --config FILE or --config JSON; {dir} in it stands for a folder for the plugin's data.",
	"health":    "After Configure, Health has to say STATUS_SERVING at once: spec/plugin/common/v1/common.proto.",
}

// errPassing is a start that failed for a reason that may pass.
var errPassing = errors.New("the start has failed for a reason that may pass")

// Probe starts p as a broker does, with an empty folder, learns what it is, and ends it. The error is a *StartError.
func Probe(ctx context.Context, p Plugin) (*About, error) {
	dir, err := os.MkdirTemp("", "carillon-plugintest-")
	if err != nil {
		return nil, err
	}
	if p.Attach == "" { // who is attached to goes on with it
		defer os.RemoveAll(dir)
	}
	if err := p.prepare(dir); err != nil {
		return nil, err
	}
	about := &About{}
	in, err := start(ctx, p, launch{}, about, dir)
	if in != nil {
		if err == nil && p.Attach == "" {
			in.shutdown(ctx)
			in.wait(time.Second) // whether it ends by itself is a case of its own
		}
		in.close()
	}
	if err != nil {
		return nil, err
	}
	return about, nil
}

// start brings a process to the point where it may be called; an about without a name is filled in by Describe. The process may
// be there although there is an error, and is to be closed.
func start(ctx context.Context, p Plugin, l launch, about *About, dir string) (*process, error) {
	in, err := open(ctx, p, l)
	if err != nil {
		return in, err
	}
	ctx, cancel := in.hurried(ctx)
	defer cancel()
	if err := in.describe(ctx, about); err != nil {
		return in, in.late(ctx, "describe", err)
	}
	if in.plugin.kind == "" { // it has just said what it is, and by that what time it has
		in.plugin.kind = about.Kind
		ctx, cancel = in.hurried(ctx)
		defer cancel()
		if ctx.Err() != nil {
			return in, in.late(ctx, "describe", fmt.Errorf("it has described itself after %.1f s", time.Since(in.began).Seconds()))
		}
	}
	if err := in.configure(ctx, configIn(about.config, dir)); err != nil && (p.Attach == "" || status.Code(err) != codes.FailedPrecondition) {
		return in, in.late(ctx, "configure", err)
	}
	if err := in.serving(ctx); err != nil {
		return in, in.late(ctx, "health", err)
	}
	return in, nil
}

// hurried ends with the time that a broker gives to a start, for which nobody under a debugger is hurried.
func (in *process) hurried(ctx context.Context) (context.Context, context.CancelFunc) {
	if in.plugin.Attach != "" {
		return context.WithCancel(ctx)
	}
	limit, known := startTime[in.plugin.kind]
	if !known {
		limit = startTime[""]
	}
	return context.WithDeadlineCause(ctx, in.began.Add(limit), &lateError{in.plugin.kind, limit})
}

// lateError is a start that has taken longer than a broker waits.
type lateError struct {
	kind  string
	limit time.Duration
}

// Error has a broker's words.
func (e *lateError) Error() string {
	return fmt.Sprintf("not ready after %v", e.limit)
}

// hint is what to do about a late step.
func (e *lateError) hint(step string) string {
	if step != "handshake" {
		return ""
	}
	return " " + startHints[step]
}

// late is what step has ended with, or that the time for the whole start is over.
func (in *process) late(ctx context.Context, step string, err error) error {
	if end, limited := ctx.Deadline(); limited && status.Code(err) == codes.DeadlineExceeded && time.Until(end) < time.Second {
		<-ctx.Done() // a plugin knows the deadline too, and may be a moment ahead
	}
	switch late, is := errors.AsType[*lateError](context.Cause(ctx)); {
	case is:
		err = fmt.Errorf("%w: %w", late, err)
	case step == "configure" && status.Code(err) != codes.InvalidArgument:
		err = fmt.Errorf("%w: %w", errPassing, err)
	}
	return in.failed(step, err)
}

// open starts a process and connects to it.
func open(ctx context.Context, p Plugin, l launch) (*process, error) {
	if p.Attach != "" {
		in, err := attach(p)
		if err != nil {
			return nil, &StartError{Step: "connect", Err: err}
		}
		return in, nil
	}
	in, err := spawn(p, l)
	if err != nil {
		return nil, &StartError{Step: "start", Err: err}
	}
	hurried, cancel := in.hurried(ctx)
	defer cancel()
	if err := in.shake(hurried); err != nil {
		return in, in.failed("handshake", err)
	}
	if err := in.connect(); err != nil {
		return in, in.failed("connect", err)
	}
	return in, nil
}

func (in *process) failed(step string, err error) error {
	select { // it may be about to say why
	case <-in.heard:
	case <-time.After(200 * time.Millisecond):
	}
	return &StartError{Step: step, Err: err, Words: in.output.last()}
}

// attach connects to a plugin that somebody else has started.
func attach(p Plugin) (*process, error) {
	in := &process{plugin: p, output: &output{}, ended: make(chan struct{}), heard: make(chan struct{})}
	close(in.heard) // what it prints is seen by who started it
	in.ctx, in.cancel = context.WithCancelCause(context.Background())
	conn, _, err := wire.DialAttached(in.ctx, p.Attach)
	if err != nil {
		return nil, err
	}
	_ = conn.Close() // it was to see whether that can be done: gRPC calls dial when it needs a connection
	return in, in.connect()
}

func (in *process) describe(ctx context.Context, about *About) error {
	ctx, cancel := context.WithTimeout(ctx, in.plugin.within(time.Minute))
	defer cancel()
	d, err := in.common.Describe(ctx, &commonv1pb.DescribeRequest{})
	if err != nil {
		return err
	}
	if about.Name != "" {
		return nil
	}
	if d.GetKind() != KindAuth && d.GetKind() != KindStore {
		return fmt.Errorf("it says that it is of kind %q, expected %q or %q", d.GetKind(), KindAuth, KindStore)
	}
	about.Name, about.Version, about.Kind = d.GetName(), d.GetVersion(), d.GetKind()
	about.Capabilities, about.Schema = d.GetCapabilities(), d.GetConfigSchema()
	if about.config = in.plugin.Config; about.config == "" {
		about.config = configFor(about.Schema)
	}
	return nil
}

// configFor is the configuration of a plugin that was given none.
func configFor(schema string) string {
	var s struct {
		Properties struct{ Dir struct{ Type any } }
	}
	if json.Unmarshal([]byte(schema), &s) == nil && s.Properties.Dir.Type == "string" {
		return `{"dir": "` + dirMark + `"}`
	}
	return "{}"
}

// configIn is config with the folder of a case.
func configIn(config, dir string) []byte {
	quoted, _ := json.Marshal(dir) // a string always can
	return []byte(strings.ReplaceAll(config, dirMark, string(quoted[1:len(quoted)-1])))
}

func (in *process) configure(ctx context.Context, config []byte) error {
	ctx, cancel := context.WithTimeout(ctx, in.plugin.within(time.Minute))
	defer cancel()
	_, err := in.common.Configure(ctx, &commonv1pb.ConfigureRequest{Config: config})
	return err
}

// healthTime is the deadline of Health.
const healthTime = time.Second

// serving asks for the health, with the time that a broker gives.
func (in *process) serving(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, in.plugin.within(healthTime))
	defer cancel()
	h, err := in.common.Health(ctx, &commonv1pb.HealthRequest{})
	if err != nil {
		return err
	}
	if h.GetStatus() != commonv1pb.HealthResponse_STATUS_SERVING {
		return fmt.Errorf("expected STATUS_SERVING, got %v %q", h.GetStatus(), cutTo(h.GetDetail(), 200))
	}
	return nil
}

// stopTime is what a plugin has to end when it is asked to.
const stopTime = 5 * time.Second

// shutdown asks the plugin to end, by the call or, where it has none, by the end of its lifeline. It does not wait for the end.
func (in *process) shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	err := in.conn.Invoke(ctx, wire.ShutdownMethod, &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) == codes.Unimplemented {
		in.cut()
	}
}
