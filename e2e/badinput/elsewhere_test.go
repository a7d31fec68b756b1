package badinput

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/built"
	"github.com/carillon-mq/carillon/protocol"
)

// elsewhere are the cases that need a broker of their own, or two.
var elsewhere = map[string]func(*testing.T){
	"A22": publishWithoutStore, "C11": sameFolder, "C17": samePort, "C9": secretsShown, "C3": reloadOfNothing, "P5": impatient,
}

func TestBadInputThatNeedsABrokerOfItsOwn(t *testing.T) {
	t.Parallel()
	for id, test := range elsewhere {
		t.Run(id, test)
	}
}

// publishWithoutStore publishes what has to be stored while the store stands still.
func publishWithoutStore(t *testing.T) {
	s := openStand(t, strings.Replace(config, "limits: {", "limits: {store_timeout: 200ms, ", 1)) // the host ends who stands still for 1 s
	before := s.figures(t)                                                                        // which ask the store, too
	plugin := built.PluginPID(t, s.admin, "store-bolt")
	if err := syscall.Kill(plugin, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(plugin, syscall.SIGCONT)
	w := dial(t, s.listen)
	a := w.exchange(post("kept.a", marker, bearer(token(t, "42", everything))))
	w.nc.Close()
	if a == nil || a.StatusCode != 503 || a.code != "store_unavailable" || a.Header.Get("Retry-After") == "" || !strings.Contains(a.body, "not known") && !strings.Contains(a.body, "unknown") {
		t.Errorf("found %+v, wanted it said that the outcome is unknown", a)
	}
	after := s.figures(t)
	if grown := after.refusals(before); len(grown) != 1 || grown["store_unavailable"] != 1 {
		t.Errorf("found refusals counted %v", grown)
	}
	s.canary.pass(t, 5)
	checkLog(t, s.said(0), 20)
}

// sameFolder starts a second broker on a folder that is in use.
func sameFolder(t *testing.T) {
	s := openStand(t, config)
	said, code := refuses(t, s.dir, []string{"-c", filepath.Join(s.dir, "carillon.yaml"), "--listen", "127.0.0.1:0"})
	if code == 0 || !strings.Contains(said, "data") {
		t.Errorf("exit code %d, and it said %q", code, said)
	}
	s.canary.pass(t, 5)
}

// samePort starts a second broker on a port that is in use.
func samePort(t *testing.T) {
	s := openStand(t, config)
	said, code := refuses(t, t.TempDir(), []string{"--listen", s.listen})
	if code == 0 || !strings.Contains(said, s.listen+" is taken") {
		t.Errorf("exit code %d, and it said %q", code, said)
	}
	s.canary.pass(t, 5)
}

// secretsShown has the configuration printed, in which secrets are not.
func secretsShown(t *testing.T) {
	s := openStand(t, config)
	cmd := exec.CommandContext(t.Context(), carillonBinary, "config", "show", "-c", filepath.Join(s.dir, "carillon.yaml"))
	cmd.Env = built.Environ()
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), secret) || !strings.Contains(string(out), "auth-jwt") {
		t.Errorf("%v: %s", err, out)
	}
}

// reloadOfNothing asks for a reload while the configuration is not there, is no file, and is not whole: what was in force stays so.
func reloadOfNothing(t *testing.T) {
	s := openStand(t, config)
	file := filepath.Join(s.dir, "carillon.yaml")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tok := token(t, "42", everything)
	for _, spoil := range []struct {
		name string
		want string
		do   func() error
	}{
		{"it is gone", stays, func() error { return os.Remove(file) }},
		{"it is a folder", stays, func() error { return os.Mkdir(file, 0o700) }},
		{"it is cut off", stays, func() error { return errors.Join(os.Remove(file), os.WriteFile(file, whole[:len(whole)/2], 0o600)) }},
		{"it is empty", "takes effect with a restart", func() error { return os.WriteFile(file, nil, 0o600) }},
	} {
		if err := spoil.do(); err != nil {
			t.Fatal(err)
		}
		s.hangUp(t, spoil.want)
		w := connected(t, s, tok)
		w.packets(&protocol.Publish{ID: 1, Topic: "kept.a"})
		if h := w.until(protocol.TypePublished); h.ended {
			t.Errorf("%s: %s", spoil.name, h.code)
		}
		w.nc.Close()
		w = dial(t, s.listen)
		if a := w.exchange(post("orders.1", marker)); a == nil || a.code != "token_missing" {
			t.Errorf("%s: found %+v without a token", spoil.name, a)
		}
		w.nc.Close()
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s.hangUp(t, asItWas)
	s.canary.pass(t, 5)
	checkLog(t, s.said(0), 60)
}

// What a broker says of a reload that changes nothing.
const (
	stays   = "the one in force stays"
	asItWas = "the configuration is as it was"
)

// hangUp sends SIGHUP, and waits until the broker says what it is to say of it.
func (s *stand) hangUp(t *testing.T, want string) {
	t.Helper()
	from := len(s.said(0))
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if wrong := eventually(t, patience, func() string {
		if !strings.Contains(s.said(from), want) {
			return fmt.Sprintf("it said %q, wanted %q", s.said(from), want)
		}
		return ""
	}); wrong != "" {
		t.Fatal(wrong)
	}
}
