//go:build unix

package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/internal/require"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/protocol"
)

func TestAPluginIsStartedAnswersAndIsStopped(t *testing.T) {
	self, sum := thisBinary(t)
	for name, spec := range map[string]Spec{
		"bundled":     bundled("a", "auth"),
		"third party": {Name: "a", Path: self, Args: []string{"as:auth"}, SHA256: sum},
		"unchecked":   {Name: "a", Path: self, Args: []string{"as:auth"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, patient())
			a := startAuth(t, h, spec)
			id, err := a.Authenticate(t.Context(), broker.Credentials{Token: "x"})
			if err != nil || id.User != "u" {
				t.Fatalf("got %+v and %v", id, err)
			}
			_, err = a.Authenticate(t.Context(), broker.Credentials{Token: "expired"})
			if !errors.Is(err, &protocol.Error{Code: protocol.CodeTokenExpired}) {
				t.Errorf("got %v, wanted the plugin's refusal", err)
			}
			s := a.Status()
			if s.State != Ready || s.Plugin != "test-auth" || s.Version != "1.2.3" || len(s.Capabilities) != 1 || s.PID == 0 || s.Restarts != 0 || s.LastError != "" {
				t.Errorf("status %+v", s)
			}
			if err := h.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(s.PID, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("the process is still there: %v", err)
			}
			if _, err := os.Stat(h.folder.path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is still there: %v", err)
			}
			if got := a.Status().State; got != Stopped {
				t.Errorf("state %v, wanted stopped", got)
			}
			if _, err := a.Authenticate(t.Context(), broker.Credentials{}); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a call after Close: %v", err)
			}
			if _, err := h.Auth(bundled("b", "auth")); !errors.Is(err, errClosed) {
				t.Errorf("a plugin after Close: %v", err)
			}
		})
	}
}

func thisBinary(t *testing.T) (path, sum string) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(content)
	return path, hex.EncodeToString(digest[:])
}

func TestAKilledPluginIsSeenAtOnceAndStartedAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	a := startAuth(t, h, bundled("a", "auth"))
	pid := a.Status().PID
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s := until(t, h, "a", func(s Status) bool { return s.State != Ready })
	t.Logf("seen after %v as %v, %s", time.Since(killed), s.State, s.Trouble)
	s = until(t, h, "a", func(s Status) bool { return !s.State.Up() })
	if !strings.Contains(s.LastError, "killed") || time.Since(killed) > require.Bound(time.Second, 10) {
		t.Errorf("after %v: %+v", time.Since(killed), s)
	}
	s = until(t, h, "a", restarted(pid))
	if s.Restarts != 1 {
		t.Errorf("%d restarts", s.Restarts)
	}
	if _, err := a.Authenticate(t.Context(), broker.Credentials{}); err != nil {
		t.Errorf("the first call after the restart: %v", err)
	}
}

func TestAPluginThatEndsInACallFailsTheCallAndComesBack(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	a := startAuth(t, h, bundled("a", "auth"))
	for token, says := range map[string]string{"panic": "panic: boom at panic", "exit": "exit status 0"} {
		pid := a.Status().PID
		if _, err := a.Authenticate(t.Context(), broker.Credentials{Token: token}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: got %v, wanted ErrUnavailable", token, err)
		}
		s := until(t, h, "a", restarted(pid))
		if !strings.Contains(s.LastError, says) {
			t.Errorf("%s: last error %q", token, s.LastError)
		}
	}
}

func TestAPluginThatSaysItCannotWorkIsStartedAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	a := startAuth(t, h, bundled("a", "auth"))
	pid := a.Status().PID
	if _, err := a.Authenticate(t.Context(), broker.Credentials{Token: "sick"}); err != nil {
		t.Fatal(err)
	}
	until(t, h, "a", func(s Status) bool { return s.Detail == "feels sick" })
	if s := until(t, h, "a", restarted(pid)); !strings.Contains(s.LastError, "feels sick") {
		t.Errorf("last error %q", s.LastError)
	}
}

func TestMalformedAnswersAreDeniedAndLogged(t *testing.T) {
	t.Parallel()
	log, logger := newLog()
	o := patient()
	o.Logger = logger
	a := startAuth(t, newHost(t, o), bundled("a", "auth"))
	began := time.Now()
	for range 20 {
		id, err := a.Authenticate(t.Context(), broker.Credentials{Token: "malformed"})
		if _, refused := errors.AsType[*protocol.Error](err); id != nil || err == nil || refused {
			t.Fatalf("got %+v and %v, wanted no decision", id, err)
		}
	}
	log.line(t, "plugin answer refused")
	n := 0
	for _, line := range log.all() {
		if strings.Contains(line, "plugin answer refused") {
			n++
		}
	}
	if took := time.Since(began); n > 6+int(took/time.Second) {
		t.Errorf("%d lines for 20 answers in %v", n, took)
	}
}

func TestAPluginSeesOfTheEnvironmentOnlyWhatIsOnTheList(t *testing.T) {
	t.Setenv("CARILLON_TEST_SECRET", "s3cr3t")
	t.Setenv("LD_PRELOAD_X", "/tmp/evil.so")
	t.Setenv("GODEBUG", "http2client=0")
	t.Setenv("SSL_CERT_FILE", "/tmp/evil.pem")
	t.Setenv("PATH", "/tmp/evil:"+os.Getenv("PATH"))
	t.Setenv("WANTED", "yes")
	t.Setenv("TZ", "Asia/Tokyo")
	o := patient()
	o.PassEnv = []string{"WANTED"}
	a := startAuth(t, newHost(t, o), bundled("a", "auth"))
	id, err := a.Authenticate(t.Context(), broker.Credentials{Token: "who"})
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{
		"HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "WANTED", "PATH", "CARILLON_PLUGIN", "CARILLON_PLUGIN_LOG",
		"PLUGIN_MIN_PORT", "PLUGIN_MAX_PORT", "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_UNIX_SOCKET_DIR",
	}
	env := id.Attributes["env"]
	for line := range strings.SplitSeq(env, "\n") {
		name, value, _ := strings.Cut(line, "=")
		if !strings.Contains("|"+strings.Join(allowed, "|")+"|", "|"+name+"|") || strings.Contains(value, "evil") {
			t.Errorf("the plugin sees %s", line)
		}
	}
	for _, want := range []string{"WANTED=yes", "TZ=Asia/Tokyo"} {
		if !strings.Contains(env, want) {
			t.Errorf("the plugin does not see %s", want)
		}
	}
}

func TestWhatAPluginForkedGoesWithIt(t *testing.T) {
	t.Parallel()
	watch := newDeathWatch(t)
	h := newHost(t, patient())
	spec := bundled("a", "auth")
	spec.Config = []byte(`{"fork": "` + watch.path + `"}`)
	a := startAuth(t, h, spec)
	child, pid := watch.next(t), a.Status().PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone(t, child, require.Bound(2*time.Second, 10))
	until(t, h, "a", restarted(pid))
}

func TestCloseDoesNotWaitForAPluginThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	o := patient()
	o.StopTimeout = 200 * time.Millisecond
	h := newHost(t, o)
	startStore(t, h, bundled("slow", "slow-close"))
	if _, err := h.Auth(bundled("hangs", "say-and-hang", "")); err != nil {
		t.Fatal(err)
	}
	until(t, h, "hangs", func(s Status) bool { return s.PID != 0 })
	began := time.Now()
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 20*time.Second {
		t.Errorf("closed after %v", took)
	}
	for _, s := range h.List() {
		if s.State != Stopped || s.PID != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestAPluginWithoutGoPluginIsServedAndStopped(t *testing.T) {
	t.Parallel()
	log, logger := newLog()
	o := patient()
	o.Logger = logger
	h := newHost(t, o)
	a := startAuth(t, h, bundled("a", "foreign"))
	if id, err := a.Authenticate(t.Context(), broker.Credentials{}); err != nil || id.User != "u" {
		t.Errorf("got %+v and %v", id, err)
	}
	began := time.Now()
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.line(t, "foreign plugin ends")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("stopped after %v", took)
	}
}

func TestAThirdPartysSocketIsForTheHostAlone(t *testing.T) {
	t.Parallel()
	self, _ := thisBinary(t)
	h := newHost(t, patient())
	startAuth(t, h, Spec{Name: "a", Path: self, Args: []string{"as:auth"}})
	for _, dir := range []string{h.folder.path, filepath.Join(h.folder.path, "plugin-dir*")} {
		found, err := filepath.Glob(dir)
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %v", dir, found, err)
		}
		if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", found[0], info.Mode(), err)
		}
	}
	sockets, err := filepath.Glob(filepath.Join(h.folder.path, "plugin-dir*", "plugin*"))
	if err != nil || len(sockets) != 1 {
		t.Fatalf("sockets %v, %v", sockets, err)
	}
	stranger, err := grpc.NewClient("unix:"+sockets[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	_, err = wire.NewAuthClient(stranger).Authenticate(t.Context(), broker.Credentials{Token: "who"})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a connection without a certificate: %v", err)
	}
}
