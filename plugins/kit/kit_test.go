//go:build unix

package kit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/plugins/kit"
)

// TestMain runs the tests, or, when a test has started this binary again, a plugin.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || !strings.HasPrefix(os.Args[1], "as:") {
		goleak.VerifyTestMain(m)
		return
	}
	p := kit.Plugin{Name: "test", Version: "1", Kind: kit.KindStore, ConfigSchema: "{}", Store: newStore}
	if os.Args[1] == "as:nothing" {
		p.Store = nil
	}
	kit.Serve(p)
}

type store struct {
	broker.Store
	closeErr error
}

func newStore(config json.RawMessage) (kit.Store, error) {
	switch string(config) {
	case `{"bad":1}`:
		return nil, kit.BadConfig("bad: found %d, wanted nothing", 1)
	case `{"locked":1}`:
		return nil, errors.New("the file is locked")
	case `{"broken":1}`:
		return store{closeErr: errors.New("disk on fire")}, nil
	}
	slog.Info("opened")
	slog.Debug("not asked for")
	return store{}, nil
}

func (s store) Close() error {
	slog.Info("closed")
	return s.closeErr
}

// running is a plugin process as a host of another make would start it.
type running struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr *bytes.Buffer
	conn   *grpc.ClientConn
	common commonv1pb.PluginServiceClient
}

func start(t *testing.T) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "k") //nolint:usetesting // the path of t.TempDir is too long for a socket in it
	if err != nil {
		t.Fatal(err)
	}
	r := &running{cmd: exec.Command(os.Args[0], "as:store"), stderr: &bytes.Buffer{}}
	r.cmd.Env = []string{wire.CookieKey + "=" + wire.CookieValue, "PLUGIN_UNIX_SOCKET_DIR=" + dir, "PLUGIN_PROTOCOL_VERSIONS=1", "GORACE=atexit_sleep_ms=0"}
	r.cmd.Stderr = r.stderr
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(line, "|")
	if len(fields) < 5 || fields[1] != "1" || fields[2] != "unix" || fields[4] != "grpc" {
		t.Fatalf("handshake %q", line)
	}
	r.conn, err = grpc.NewClient("unix:"+fields[3], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	r.common = commonv1pb.NewPluginServiceClient(r.conn)
	t.Cleanup(func() {
		r.stdin.Close()
		r.conn.Close()
		_ = r.cmd.Wait() // waited for already by most
		os.RemoveAll(dir)
	})
	return r
}

// end waits for the process and returns its exit status.
func (r *running) end(t *testing.T) int {
	t.Helper()
	watchdog := time.AfterFunc(10*time.Second, func() { _ = r.cmd.Process.Kill() })
	defer watchdog.Stop()
	if _, failed := errors.AsType[*exec.ExitError](r.cmd.Wait()); failed && !r.cmd.ProcessState.Exited() {
		t.Fatalf("the plugin ended with %v", r.cmd.ProcessState)
	}
	return r.cmd.ProcessState.ExitCode()
}

func (r *running) configure(t *testing.T, config string) error {
	_, err := r.common.Configure(t.Context(), &commonv1pb.ConfigureRequest{Config: []byte(config)})
	return err
}

func (r *running) shutdown() {
	_ = r.conn.Invoke(context.Background(), wire.ShutdownMethod, &emptypb.Empty{}, &emptypb.Empty{}) // the answer is cut off
}

func TestStartedByHandAPluginSaysWhatToDo(t *testing.T) {
	for role, says := range map[string]string{
		"as:store":   "Name it in carillon.yaml (store: {path: …, sha256: …})",
		"as:nothing": `Kind must be "auth" with Auth set, or "store" with Store set`,
	} {
		out, err := exec.Command(os.Args[0], role).CombinedOutput()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 2 || !strings.Contains(string(out), says) {
			t.Errorf("%s: %v, %s", role, err, out)
		}
	}
}

func TestAPluginEndsAtOnceWhenItsHostIsGone(t *testing.T) {
	r := start(t)
	r.stdin.Close()
	if status := r.end(t); status != 3 {
		t.Errorf("exit status %d, wanted 3", status)
	}
}

func TestAPluginIsConfiguredOnceAndLeavesSIGTERMToItsHost(t *testing.T) {
	r := start(t)
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d, err := r.common.Describe(t.Context(), &commonv1pb.DescribeRequest{})
	if err != nil || d.GetName() != "test" || d.GetKind() != "store" || d.GetContractVersions()[0] != 1 || d.GetConfigSchema() != "{}" {
		t.Errorf("described as %v, %v", d, err)
	}
	health := func() commonv1pb.HealthResponse_Status {
		h, err := r.common.Health(t.Context(), &commonv1pb.HealthRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return h.GetStatus()
	}
	if got := health(); got != commonv1pb.HealthResponse_STATUS_NOT_SERVING {
		t.Errorf("before Configure it is %v", got)
	}
	for _, c := range []struct {
		config string
		code   codes.Code
		says   string
	}{
		{`{"bad":1}`, codes.InvalidArgument, "bad: found 1, wanted nothing"},
		{`{"locked":1}`, codes.Unavailable, "the file is locked"},
		{``, codes.OK, ""},
		{`{}`, codes.FailedPrecondition, "configured already"},
	} {
		if err := r.configure(t, c.config); status.Code(err) != c.code || !strings.Contains(status.Convert(err).Message(), c.says) {
			t.Errorf("configured with %s: %v", c.config, err)
		}
	}
	if got := health(); got != commonv1pb.HealthResponse_STATUS_SERVING {
		t.Errorf("after Configure it is %v", got)
	}
	r.shutdown()
	if status := r.end(t); status != 0 {
		t.Errorf("exit status %d, wanted 0", status)
	}
	logged := r.stderr.String()
	if !strings.Contains(logged, `"msg":"opened"`) || !strings.Contains(logged, `"msg":"closed"`) || strings.Contains(logged, "not asked for") {
		t.Errorf("logged:\n%s", logged)
	}
}

func TestAStoreThatDoesNotCloseCleanlySaysSo(t *testing.T) {
	r := start(t)
	if err := r.configure(t, `{"broken":1}`); err != nil {
		t.Fatal(err)
	}
	r.shutdown()
	if status := r.end(t); status != 1 || !strings.Contains(r.stderr.String(), "disk on fire") {
		t.Errorf("exit status %d, logged:\n%s", status, r.stderr)
	}
}
