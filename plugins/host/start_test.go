//go:build unix

package host

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
)

func TestEveryBrokenStartEndsInTimeWithItsReason(t *testing.T) {
	t.Parallel()
	log, logger := newLog()
	o := patient()
	o.StartTimeout, o.Logger = patience, logger
	o.BackoffMin, o.BackoffMax = time.Hour, time.Hour
	h := newHost(t, o)
	foreign := newDeathWatch(t)
	cases := map[string]struct {
		spec  Spec
		state State
		says  string
	}{
		"ends":              {bundled("", "say", "", "3"), Backoff, "exit status 3"},
		"says-why":          {Spec{Path: "/bin/sh", Args: []string{"-c", "echo no license >&2; exit 1"}}, Backoff, "exit status 1: no license"},
		"panics":            {bundled("", "panic"), Backoff, "panic: boom"},
		"noise":             {bundled("", "say-and-hang", `\x00\xff\x1b[31m\x07noise\n`), Backoff, `1 fields, wanted CORE|CONTRACT`},
		"prints-first":      {bundled("", "say-and-hang", `starting up\n1|1|unix|/x|grpc\n`), Backoff, `handshake "starting up"`},
		"endless-line":      {bundled("", "say-much"), Backoff, "no handshake as the first line"},
		"core-version":      {bundled("", "say-and-hang", `9|1|unix|/x|grpc\n`), Backoff, `go-plugin protocol "9"`},
		"contract-version":  {bundled("", "say-and-hang", `1|99|unix|/x|grpc\n`), Failed, `contract version "99"`},
		"foreign-tcp":       {bundled("", "say-and-hang", `1|1|tcp|8.8.8.8:53|grpc\n`), Backoff, "no socket in PLUGIN_UNIX_SOCKET_DIR"},
		"foreign-socket":    {bundled("", "say-and-hang", "1|1|unix|"+foreign.path+`|grpc\n`), Backoff, "no socket in PLUGIN_UNIX_SOCKET_DIR"},
		"four-fields":       {bundled("", "say-and-hang", `1|1|unix|/x\n`), Backoff, "4 fields"},
		"eight-fields":      {bundled("", "say-and-hang", `1|1|unix|/x|grpc|||\n`), Backoff, "8 fields"},
		"net-rpc":           {bundled("", "say-and-hang", `1|1|unix|/x|netrpc\n`), Backoff, "no socket"},
		"no-such-file":      {Spec{Path: "/no/such/plugin"}, Failed, "no such file"},
		"not-executable":    {Spec{Path: "/etc/passwd"}, Failed, "permission denied"},
		"wrong-kind":        {bundled("", "store"), Failed, `is a plugin of kind "store", wanted "auth"`},
		"config-unknown":    {config(bundled("", "auth"), `{"wach": "x"}`), Failed, "configuration refused: wach: unknown key"},
		"config-nested":     {config(bundled("", "auth"), `{"keys": [{"kid": "1"}, {"alg": "none", "secret": "s3cr3t"}]}`), Failed, "keys[1].kid: missing"},
		"config-no-json":    {config(bundled("", "auth"), `{`), Failed, "not JSON"},
		"config-by-plugin":  {config(bundled("", "auth"), `{"refuse": "x"}`), Failed, `configuration refused: refuse: found \"x\"`},
		"fails-for-a-while": {config(bundled("", "auth"), `{"fail": "database is locked"}`), Backoff, "database is locked"},
	}
	for name, c := range cases {
		c.spec.Name = name
		if _, err := h.Auth(c.spec); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range cases {
		s := until(t, h, name, in(Backoff, Failed, Ready))
		if s.State != c.state || !strings.Contains(s.LastError, strings.ReplaceAll(c.says, `\"`, `"`)) {
			t.Errorf("%s: %v, %q, wanted %v, %q", name, s.State, s.LastError, c.state, c.says)
		}
		if strings.ContainsAny(s.LastError, "\x1b\x00\x07\n") || strings.Contains(s.LastError, "s3cr3t") {
			t.Errorf("%s: last error %q", name, s.LastError)
		}
		if s = until(t, h, name, func(s Status) bool { return s.PID == 0 }); s.Restarts != 0 {
			t.Errorf("%s: %d restarts", name, s.Restarts)
		}
	}
	for _, line := range log.all() {
		if strings.ContainsAny(line, "\x1b\x00\x07") || strings.Contains(line, "s3cr3t") {
			t.Errorf("log line %q", line)
		}
	}
}

func TestAPluginThatHangsAtStartIsGivenUp(t *testing.T) {
	t.Parallel()
	o := quick()
	o.StartTimeout = 500 * time.Millisecond
	o.BackoffMin, o.BackoffMax = time.Hour, time.Hour
	h := newHost(t, o)
	for name, says := range map[string]string{"silent": "", "in-the-line": "1|1|unix", "at-its-socket": `1|1|unix|$SOCKET|grpc\n`} {
		if _, err := h.Auth(bundled(name, "say-and-hang", says)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"silent", "in-the-line", "at-its-socket"} {
		s := until(t, h, name, func(s Status) bool { return s.State == Backoff && s.PID == 0 })
		if s.LastError != "not ready after 500ms" {
			t.Errorf("%s: last error %q", name, s.LastError)
		}
	}
}

func TestAPluginMayBringATimeToStartInOfItsOwn(t *testing.T) {
	t.Parallel()
	o := quick()
	o.StartTimeout = time.Hour
	o.BackoffMin, o.BackoffMax = time.Hour, time.Hour
	h := newHost(t, o)
	spec := bundled("silent", "say-and-hang", "")
	spec.StartTimeout = 300 * time.Millisecond
	if _, err := h.Store(spec); err != nil {
		t.Fatal(err)
	}
	if s := until(t, h, "silent", func(s Status) bool { return s.State == Backoff }); s.LastError != "not ready after 300ms" {
		t.Errorf("last error %q", s.LastError)
	}
}

func config(s Spec, config string) Spec {
	s.Config = []byte(config)
	return s
}

func TestWaitSaysWhyAPluginIsNotReady(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	refused, err := h.Auth(config(bundled("refused", "auth"), `{"keys": 7}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := refused.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "keys: found number, wanted array") {
		t.Errorf("refused: %v", err)
	}
	crashing, err := h.Auth(bundled("crashing", "say", "", "3"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, h, "crashing", func(s Status) bool { return s.Restarts > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := crashing.Wait(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("crashing: %v", err)
	}
}

func TestACrashLoopBacksOffAndHurtsNobody(t *testing.T) {
	t.Parallel()
	o := patient()
	o.BackoffMin, o.BackoffMax = 20*time.Millisecond, 80*time.Millisecond
	h := newHost(t, o)
	good := startAuth(t, h, bundled("good", "auth"))
	bad, err := h.Auth(bundled("bad", "say", "", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Authenticate(t.Context(), broker.Credentials{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, wanted ErrUnavailable", err)
	}
	for n, least := range []time.Duration{10, 20, 40, 40} {
		least *= time.Millisecond
		s := until(t, h, "bad", func(s Status) bool { return s.State == Backoff && s.Restarts >= n })
		if s.Restarts == n && (s.RetryAt.Sub(s.Since) < least || s.RetryAt.Sub(s.Since) > 2*least) {
			t.Errorf("wait before restart %d: %v, wanted %v to %v", n+1, s.RetryAt.Sub(s.Since), least, 2*least)
		}
	}
	if _, err := good.Authenticate(t.Context(), broker.Credentials{}); err != nil || good.Status().Restarts != 0 {
		t.Errorf("the other plugin: %v, %+v", err, good.Status())
	}
}

func TestSpecsAreChecked(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	for name, spec := range map[string]Spec{
		"no name":            {Path: "/bin/true"},
		"bad name":           {Name: "A b", Path: "/bin/true"},
		"no path":            {Name: "a"},
		"another kind":       {Name: "a", Kind: KindStore, Path: "/bin/true"},
		"half a sum":         {Name: "a", Path: "/bin/true", SHA256: "abcd"},
		"bundled with a sum": {Name: "a", Bundled: true, SHA256: strings.Repeat("ab", 32)},
	} {
		if _, err := h.Auth(spec); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	startAuth(t, h, bundled("a", "auth"))
	if _, err := h.Store(bundled("a", "store")); err == nil {
		t.Error("the same name twice: accepted")
	}
}

// Describe has a plugin say what it is, whatever kind it is and however its configuration has to be, and leaves nothing of it behind.
func TestDescribeTellsWhatAPluginIs(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	for role, want := range map[string]Description{
		"auth":  {Name: "test-auth", Version: "1.2.3", Kind: KindAuth, ContractVersions: []uint32{1}, Capabilities: []string{"test"}, ConfigSchema: authSchema},
		"store": {Name: "test-store", Kind: KindStore, ContractVersions: []uint32{1}},
	} {
		said, err := h.Describe(t.Context(), config(bundled("plugin", role), `{"wach": "x"}`))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, said); d != "" {
			t.Errorf("%s: %s", role, d)
		}
	}
	if _, err := h.Describe(t.Context(), Spec{Name: "plugin", Path: "/bin/sh", Args: []string{"-c", "echo no license >&2; exit 1"}}); err == nil || !strings.Contains(err.Error(), "no license") {
		t.Errorf("a plugin that ends: %v", err)
	}
	if _, err := h.Describe(t.Context(), Spec{Name: "plugin"}); err == nil {
		t.Error("a plugin without a path was described")
	}
	if list := h.List(); len(list) != 0 {
		t.Errorf("it is among the plugins: %+v", list)
	}
}
