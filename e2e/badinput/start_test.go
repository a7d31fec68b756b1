package badinput

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/internal/built"
)

// startInput is a configuration, or a machine, on which a broker must not start.
type startInput struct {
	id, name string
	config   string // KEY is the path of a file with key
	want     string // of what it says
	key      []byte // of a file
	env      []string
	args     []string
	data     []byte // the store's file
	prepare  func(t *testing.T, dir string)
}

const authHead = "auth:\n  plugin: auth-jwt\n  config:\n    issuer: a\n    audience: b\n    keys:\n"

// welcome lets in everybody, so that an address beyond this machine is not refused for that.
const welcome = "auth: {anonymous: allow}\n"

// hint is what a store that cannot be used is refused with.
const hint = `store\.db can't be used: .*restore a backup, or move the file away`

func startInputs(t testing.TB) []startInput {
	t.Helper()
	all := []startInput{
		{id: "C2", name: "a line that is none", config: authHead + "      - {kid: main, alg: HS256\n", want: `carillon.yaml:7:`},
		{id: "C2", name: "an empty user", config: authHead + "      - {}\n", want: `keys`},
		{id: "C4", name: "an unknown key", config: "alow_anonymous: true\n", want: `carillon.yaml:1:1: unknown key "alow_anonymous"`},
		{id: "C4", name: "a key twice", config: "listen: 127.0.0.1:0\nlisten: 127.0.0.1:0\n", want: `carillon.yaml:2:1: .*already set in line 1`},
		{id: "C4", name: "another type", config: "origins: {a: b}\n", want: `carillon.yaml:1:`},
		{id: "C4", name: "a tab", config: "limits:\n\tring: 64MiB\n", want: `carillon.yaml:2:`},
		{id: "C4", name: "UTF-16", config: "\xff\xfel\x00i\x00", want: `carillon.yaml`},
		{id: "C4", name: "not UTF-8", config: "data_dir: \"\xff\xfe\"\n", want: `carillon.yaml`},
		{id: "C6", name: "open to everybody", config: "", args: []string{"--listen", "0.0.0.0:0"}, want: `no authentication is configured`},
		{id: "C13", name: "any origin and a cookie", config: "origins: [\"*\"]\n" + authHead + "      - {alg: HS256, secret: " + secret + "}\n  cookie: session\n", want: `auth.cookie.* does not go together`},
		{id: "C16", name: "an empty variable", env: []string{"CARILLON_LISTEN="}, want: `CARILLON_LISTEN`},
		{id: "C16", name: "an empty limit", env: []string{"CARILLON_LIMITS_RING="}, want: `CARILLON_LIMITS_RING`},
		{id: "C17", name: "no port", args: []string{"--listen", "127.0.0.1:99999"}, want: `99999`},
		{id: "C17", name: "a zone that is not there", config: welcome, args: []string{"--listen", "[fe80::1%nosuch0]:0"}, want: `cannot listen on \[fe80::1%nosuch0\]:0`},
		{id: "C17", name: "another's address", config: welcome, args: []string{"--listen", "203.0.113.7:0"}, want: `cannot listen on 203\.0\.113\.7:0`},
		{id: "C9", name: "a secret that is not there", config: authHead + "      - {alg: HS256, file: /nonexistent/key}\n", want: `/nonexistent/key`},
		{id: "C12", name: "an empty store", data: []byte{}, want: hint},
		{id: "C12", name: "random bytes for a store", data: []byte(strings.Repeat("random bytes ", 5000)), want: hint},
		{id: "C12", name: "a database of something else", data: database(t, false), want: hint},
		{id: "C12", name: "a database whose first pages are damaged", data: database(t, true), want: hint},
		{id: "C11", name: "a folder that cannot be made", args: []string{"--data-dir", "/proc/nowhere/data"}, want: `/proc/nowhere`},
		{id: "C11", name: "a file for a folder", want: `data`, prepare: func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, value := range []string{"-1MiB", "0", "9223372036854775808", "1e9GB", "64", "", "unlimited "} {
		all = append(all, startInput{id: "C5", name: "a size of " + value, config: "limits: {ring: \"" + value + "\"}\n", want: `carillon.yaml:1:\d+: limits.ring`})
	}
	for _, value := range []string{"10", "-1s", "0", "1e400s"} {
		all = append(all, startInput{id: "C5", name: "a time of " + value, config: "limits: {auth_timeout: \"" + value + "\"}\n", want: `carillon.yaml:1:\d+: limits.auth_timeout`})
	}
	for name, short := range map[string]string{"empty": `""`, "1 byte": "x", "31 bytes": secret[:31]} {
		all = append(all, startInput{id: "J6", name: name, config: authHead + "      - {alg: HS256, secret: " + short + "}\n", want: `32|either secret or file`})
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	weak.N.Rsh(weak.N, 1024) // of 1,024 bits: the library makes none
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs := authHead + "      - {alg: RS256, file: KEY}\n"
	for name, public := range map[string]any{"RSA of 1,024 bits": &weak.PublicKey, "Ed25519 for RS256": other} {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, startInput{id: "J25", name: name, config: rs, key: der, want: `KEY|RS256|2048`})
	}
	return all
}

// database is a file of bbolt that is not of the store, or has no page left that says what it is.
func database(t testing.TB, damaged bool) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "other.db")
	db, err := bbolt.Open(file, 0o600, nil)
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("other"))
			return err
		})
	}
	if err == nil {
		err = db.Close()
	}
	b, readErr := os.ReadFile(file)
	if err != nil || readErr != nil {
		t.Fatal(err, readErr)
	}
	if damaged {
		for i := range 2 * os.Getpagesize() {
			b[i] ^= 0xff
		}
	}
	return b
}

// TestBadStarts has the broker refuse to start, in time, in a line that says why, and without changing anything.
func TestBadStarts(t *testing.T) {
	t.Parallel()
	for _, in := range startInputs(t) {
		t.Run(in.id+" "+in.name, func(t *testing.T) { in.try(t) })
	}
}

func (in *startInput) try(t *testing.T) {
	dir := t.TempDir()
	if in.key != nil {
		in.config = strings.ReplaceAll(in.config, "KEY", writePEM(t, dir, "PUBLIC KEY", in.key))
	}
	if in.prepare != nil {
		in.prepare(t, dir)
	}
	file, store := filepath.Join(dir, "carillon.yaml"), filepath.Join(dir, "data", "store", "store.db")
	if err := os.WriteFile(file, []byte(in.config), 0o600); err != nil {
		t.Fatal(err)
	}
	if in.data != nil {
		if err := os.MkdirAll(filepath.Dir(store), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(store, in.data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said, code := refuses(t, dir, append([]string{"-c", file}, in.args...), in.env...)
	if code == 0 || !regexp.MustCompile(in.want).MatchString(said) {
		t.Errorf("exit code %d, and it said %q, wanted %s", code, said, in.want)
	}
	if panics.MatchString(said) || strings.Contains(said, secret[:31]) {
		t.Errorf("it said %q", said)
	}
	if in.data != nil {
		if kept, err := os.ReadFile(store); err != nil || string(kept) != string(in.data) {
			t.Errorf("the store's file was changed: %d bytes, %v", len(kept), err)
		}
	}
}

// refuses runs a broker that has to end by itself, and returns what it said.
func refuses(t *testing.T, dir string, args []string, env ...string) (said string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all := []string{"serve", "--admin-listen", "none", "--data-dir", filepath.Join(dir, "data")}
	if !strings.Contains(strings.Join(append(args, env...), " "), "isten") && !strings.Contains(strings.Join(env, " "), "LISTEN") {
		all = append(all, "--listen", "127.0.0.1:0")
	}
	cmd := exec.CommandContext(ctx, carillonBinary, append(all, args...)...)
	cmd.Env, cmd.Dir = append(built.Environ(), env...), dir
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("it runs: %s", out)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	}
	if took := time.Since(began); took > startMost {
		t.Errorf("it took %s", took)
	}
	return string(out), code
}
