package badinput

import (
	"bufio"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-mq/carillon/internal/built"
	"github.com/carillon-mq/carillon/internal/require"
	"github.com/carillon-mq/carillon/internal/testcert"
	"github.com/carillon-mq/carillon/protocol"
)

// plainly returns what runs a command without the powers of root, if the test has them.
func plainly(t *testing.T) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	return []string{require.Program(t, "setpriv", "setpriv"), "--bounding-set=-all"}
}

// TestMachinesThatAreNotReady has the broker refuse to start for what the machine does not give (C11, C17).
func TestMachinesThatAreNotReady(t *testing.T) {
	t.Parallel()
	t.Run("C11 a folder that may not be written", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "sealed")
		if err := os.Mkdir(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		refusedFor(t, plainly(t), dir, nil, "may not write to "+dir)
	})
	t.Run("C11 a folder inside one that may not be written", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "sealed")
		if err := os.Mkdir(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		refusedFor(t, plainly(t), filepath.Join(dir, "data"), nil, "may not write to "+dir)
	})
	t.Run("C11 a disk that is full", func(t *testing.T) {
		dir := fullDisk(t)
		refusedFor(t, nil, filepath.Join(dir, "data"), nil, "no space left")
	})
	t.Run("C17 a port of the system", func(t *testing.T) {
		first, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
		lowest, numberErr := strconv.Atoi(strings.TrimSpace(string(first)))
		require.That(t, "ports", err == nil && numberErr == nil && lowest > 7, "every port is everybody's here")
		refusedFor(t, plainly(t), t.TempDir(), []string{"--listen", "127.0.0.1:7"}, "may not listen on 127.0.0.1:7")
	})
}

// refusedFor starts a broker, in time, that does not start, for a reason that it tells.
func refusedFor(t *testing.T, with []string, data string, args []string, want string) {
	t.Helper()
	if args == nil {
		args = []string{"--listen", "127.0.0.1:0"}
	}
	command := append(append(with, carillonBinary, "serve", "--admin-listen", "none", "--data-dir", data), args...)
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env, cmd.Dir = built.Environ(), t.TempDir()
	overdue := time.AfterFunc(startMost, func() { _ = cmd.Process.Kill() })
	out, err := cmd.CombinedOutput()
	if !overdue.Stop() {
		t.Fatalf("it runs: %s", out)
	}
	if err == nil || !strings.Contains(string(out), want) || panics.Match(out) {
		t.Errorf("%v, and it said %q, wanted %q", err, out, want)
	}
}

// fullDisk is a file system of its own on which there is no room.
func fullDisk(t *testing.T) string {
	t.Helper()
	require.Root(t)
	dir := filepath.Join(t.TempDir(), "full")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")
	require.That(t, "mount", err == nil, "nothing can be mounted here")
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "everything"), make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("a MiB fits into 64 KiB")
	}
	return dir
}

// TestSecretsThatAreNone has secrets that other users of the machine can read told to the operator (C9), and none of them printed.
func TestSecretsThatAreNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	keyFromFile := strings.Replace(config, "secret: "+secret, "file: "+file, 1)
	t.Run("C9 a secret of its own file", func(t *testing.T) {
		if s := openStand(t, keyFromFile); strings.Contains(s.said(0), "other users") {
			t.Errorf("it said %q of what nobody else can read", s.said(0))
		}
		if err := os.Chmod(file, 0o644); err != nil { //nolint:gosec // that is the mistake
			t.Fatal(err)
		}
		if s := openStand(t, keyFromFile); !strings.Contains(s.said(0), "can be read by other users: chmod 600") || strings.Contains(s.said(0), secret) {
			t.Errorf("it said %q", s.said(0))
		}
	})
	t.Run("C9 a secret in the configuration", func(t *testing.T) {
		yaml := filepath.Join(dir, "carillon.yaml")
		if err := os.WriteFile(yaml, []byte(strings.ReplaceAll(config, "KEYFILE", publicKey(t, dir))), 0o600); err != nil {
			t.Fatal(err)
		}
		if said := configured(t, nil, "check", yaml); strings.Contains(said, "warning") {
			t.Errorf("it said %q of what nobody else can read", said)
		}
		if err := os.Chmod(yaml, 0o644); err != nil { //nolint:gosec // that is the mistake
			t.Fatal(err)
		}
		if said := configured(t, nil, "check", yaml); !strings.Contains(said, "chmod o-rwx "+yaml) || strings.Contains(said, secret) {
			t.Errorf("it said %q", said)
		}
		refusedFor(t, nil, filepath.Join(dir, "data"), []string{"-c", yaml, "--listen", "127.0.0.1:99999"}, "99999")
	})
	t.Run("C9 a secret in the environment", func(t *testing.T) {
		env := []string{"CARILLON_AUTH_PLUGIN=auth-jwt", `CARILLON_AUTH_CONFIG={"issuer":"a","audience":"b","keys":[{"alg":"HS256","secret":"` + secret + `"}]}`}
		said := configured(t, env, "show")
		if strings.Contains(said, secret) || !strings.Contains(said, `"secret":"***"`) {
			t.Errorf("it said %q", said)
		}
	})
	t.Run("C9 the key of a certificate", func(t *testing.T) {
		cert, key := testcert.New(t).Files(t, dir, testcert.Request{})
		if err := os.Chmod(key, 0o644); err != nil { //nolint:gosec // that is the mistake
			t.Fatal(err)
		}
		yaml := filepath.Join(dir, "tls.yaml")
		if err := os.WriteFile(yaml, []byte("tls: {cert: "+cert+", key: "+key+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		private, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(private)
		if said := configured(t, nil, "check", yaml); !strings.Contains(said, "chmod o-rwx "+key) || strings.Contains(said, string(pem.EncodeToMemory(block))) {
			t.Errorf("it said %q", said)
		}
	})
}

// configured is what `carillon config` says.
func configured(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), carillonBinary, append([]string{"config"}, args...)...)
	cmd.Env = append(built.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestAReloadWithoutDescriptors has the configuration read again when no file can be opened (C3): what was in force stays so.
func TestAReloadWithoutDescriptors(t *testing.T) {
	t.Parallel()
	s := openStand(t, config)
	var before unix.Rlimit
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 4096}, &before); err != nil {
		t.Fatal(err)
	}
	s.hangUp(t, "too many open files")
	s.canary.pass(t, 5) // who is connected goes on
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4096, Max: 4096}, nil); err != nil {
		t.Fatal(err)
	}
	w := connected(t, s, token(t, "42", everything))
	w.asks()
	w.nc.Close()
	s.hangUp(t, asItWas)
	checkLog(t, s.said(0), 60)
}

// TestHangupsDuringTheStart sends SIGHUP while the broker starts (C18): it becomes ready all the same.
func TestHangupsDuringTheStart(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), carillonBinary, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "none", "--data-dir", t.TempDir())
	cmd.Env = built.Environ()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	overdue := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer overdue.Stop()
	ready := false
	var said strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if ready = strings.HasPrefix(lines.Text(), "carillon: ready"); ready {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			break
		}
		for range 20 { // at its first words and at each that follow
			if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Errorf("it is gone: %v", err)
			}
		}
	}
	rest, _ := io.ReadAll(stderr) // its end is what counts
	if err := cmd.Wait(); !ready || err != nil || panics.Match(append([]byte(said.String()), rest...)) {
		t.Errorf("ready: %t, %v, and it said %s%s", ready, err, said.String(), rest)
	}
}

// TestSessionsLeaveDescriptorsFree starts a broker that may have few files open: sessions take 80 % of them, and with the rest all else goes on.
func TestSessionsLeaveDescriptorsFree(t *testing.T) {
	t.Parallel()
	const files, most = 250, 200
	s := openStandIn(t, config, "", "/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, files), "sh")
	if want := fmt.Sprintf("may have %d files open", files); !strings.Contains(s.said(0), want) {
		t.Errorf("it said %q at the start, wanted %q", s.said(0), want)
	}
	tok := token(t, "42", rights{"subscribe": filters{">"}, "limits": map[string]any{"sessions": "unlimited"}})
	before := s.figures(t)
	for range most - 1 { // and the canary
		connected(t, s, tok)
	}
	for range 20 { // more than there are descriptors left for, were they kept
		w := upgraded(t, s)
		w.packets(&protocol.Connect{Version: protocol.Version, Token: tok})
		if h := w.end(); h.code != "session_limit" {
			t.Errorf("found %q for session %d, wanted session_limit", h.code, most+1)
		}
	}
	w := dial(t, s.listen)
	if a := w.exchange(post("kept.a", "x", bearer(token(t, "43", everything)))); a == nil || a.StatusCode != 200 {
		t.Errorf("found %+v for a publish, wanted it to be stored", a)
	}
	after := s.figures(t)
	if n := after.refusals(before); n["session_limit"] != 20 || len(n) != 1 || after[sessions] != most || after[descriptors] > files {
		t.Errorf("found refusals counted %v, %v sessions and %v descriptors", n, after[sessions], after[descriptors])
	}
	s.canary.pass(t, 5)
}
