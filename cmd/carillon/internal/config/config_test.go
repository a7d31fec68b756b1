package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func load(t *testing.T, yaml string, env ...string) (*Loaded, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Load(Source{File: file, Environ: env})
	if err == nil {
		err = l.Check()
	}
	return l, err
}

// messages are the problems in err, without the folder of the file.
func messages(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var ps KeyErrors
	if !errors.As(err, &ps) {
		t.Fatalf("error is %T, want KeyErrors: %v", err, err)
	}
	var out []string
	for _, p := range ps {
		if p.File != "" {
			p.File = filepath.Base(p.File)
		}
		p.Fix = ""
		out = append(out, p.Error())
	}
	return out
}

func TestMistakesInTheFileAreNamedWithTheirLine(t *testing.T) {
	secret := "auth: {plugin: auth-jwt}\n"
	for _, tc := range []struct {
		name, yaml string
		want       []string
	}{
		{"unknown key", "listne: 127.0.0.1:1\n", []string{`c.yaml:1:1: unknown key "listne"; did you mean "listen"?`}},
		{"unknown key in a section", "log:\n  lvel: info\n", []string{`c.yaml:2:3: unknown key "log.lvel"; did you mean "level"?`}},
		{"unknown key without a near one", "frobnicate: 1\n", []string{`c.yaml:1:1: unknown key "frobnicate"`}},
		{"not built", "tracing: {endpoint: a}\n", []string{`c.yaml:1:1: unknown key "tracing"`}},
		{"certificate without key", "tls: {cert: a}\n", []string{`c.yaml:1:13: tls.cert: is set without tls.key, the file with the certificate's key`}},
		{"key without certificate", "admin: {tls: {key: a}}\n", []string{`c.yaml:1:20: admin.tls.key: is set without admin.tls.cert, the file with the key's certificate`}},
		{"TLS for no listener", "admin: {listen: none, tls: {cert: a, key: b}}\n", []string{`c.yaml:1:35: admin.tls.cert: is set, but admin.listen is none: there is no listener to use it`}},
		{"old TLS", "tls: {min_version: 1.0}\n", []string{`c.yaml:1:20: tls.min_version: "1.0" is not known; did you mean "1.2"?; want 1.2 or 1.3`}},
		{"header that proxies do not agree on", "trusted_header: x-real-ip\n", []string{`c.yaml:1:17: trusted_header: "x-real-ip" is not known; want auto or x-forwarded-for or forwarded`}},
		{"cookie of no name", "auth:\n  plugin: auth-jwt\n  cookie: a b\n", []string{`c.yaml:3:11: auth.cookie: "a b" is not the name of a cookie; `}},
		{"cookie for nobody", "auth: {cookie: a}\n", []string{`c.yaml:1:16: auth.cookie: is set, but there is no authentication plugin to read the token in it; write auth.plugin`}},
		{"cookie for everybody (C13)", "auth: {plugin: auth-jwt, cookie: a}\norigins: [\"*\"]\n", []string{`c.yaml:1:34: auth.cookie: does not go together with origins: ["*"]: `}},
		{"duplicate key", "data_dir: a\ndata_dir: b\n", []string{`c.yaml:2:1: key "data_dir" is already set in line 1`}},
		{"duplicate key of a plugin", secret + "store:\n  config:\n    a: 1\n    a: 2\n", []string{`c.yaml:5:5: key "store.config.a" is already set in line 4`}},
		{"wrong shape", "log: info\n", []string{`c.yaml:1:6: log: is a value, want a section with keys`}},
		{"list wanted", "hosts: a.example\n", []string{`c.yaml:1:8: hosts: is a value, want a list`}},
		{"value wanted", "data_dir: [a]\n", []string{`c.yaml:1:11: data_dir: is a list, want one value`}},
		{"empty", "data_dir:\n", []string{`c.yaml:1:11: data_dir: is empty, want one value`}},
		{"duration without unit", "limits: {drain: 10}\n", []string{`c.yaml:1:17: limits.drain: "10" has no unit; write 10ms, 10s or 10m`}},
		{"size without unit", "limits: {ring: 64}\n", []string{`c.yaml:1:16: limits.ring: "64" has no unit; write 64B, 64KiB or 64MiB`}},
		{"size in no known unit", "limits: {ring: 1e9GB}\n", []string{`c.yaml:1:16: limits.ring: "1e9GB" is not a size; write a whole number and a unit, such as 64KiB or 512MiB`}},
		{"size too large", "limits: {ring: 9999999999TiB}\n", []string{`c.yaml:1:16: limits.ring: "9999999999TiB" is too large`}},
		{"size of nothing", "limits: {ring: 0}\n", []string{`c.yaml:1:16: limits.ring: 0B is below the least, `}},
		{"duration of nothing", "limits: {drain: 0}\n", []string{`c.yaml:1:17: limits.drain: 0s is below the least, `}},
		{"negative", "limits: {sessions: -1}\n", []string{`c.yaml:1:20: limits.sessions: is "-1", want a whole number from 1, or unlimited`}},
		{"2^63", "limits: {sessions: 9223372036854775808}\n", []string{`c.yaml:1:20: limits.sessions: "9223372036854775808" is too large`}},
		{"zero is not unlimited", "limits: {sessions: 0}\n", []string{`c.yaml:1:20: limits.sessions: 0 is below the least, 1; write unlimited to have no limit`}},
		{"what cannot be unlimited", "limits: {payload: unlimited}\n", []string{`c.yaml:1:19: limits.payload: cannot be unlimited`}},
		{"above the most", "limits: {payload: 1GiB}\n", []string{`c.yaml:1:19: limits.payload: 1GiB is above the most, 16MiB`}},
		{"not one of the words", "log: {level: warning}\n", []string{`c.yaml:1:14: log.level: "warning" is not known; did you mean "warn"?; want debug or info or warn or error`}},
		{"class that is not known", "topics: [{match: a, class: store}]\n", []string{`c.yaml:1:28: topics[0].class: "store" is not known; did you mean "stored"?; want live or memory or stored`}},
		{"bad filter", "topics:\n  - {match: a..b, class: live}\n", []string{`c.yaml:2:13: topics[0].match: "a..b": bad_filter: `}},
		{"rule without class", "topics:\n  - match: a\n", []string{`c.yaml:2:10: topics[0]: has no class; write class: live, class: memory or class: stored`}},
		{"tab", "log:\n\tlevel: info\n", []string{`c.yaml:2:1: a tab is used for indentation; YAML wants spaces`}},
		{"not closed", "hosts: [a,\n", []string{`c.yaml:1:8: sequence end token ']' not found`}},
		{"UTF-16", "\xff\xfel\x00", []string{`c.yaml: is not valid UTF-8`}},
		{"two documents", "log: {level: info}\n---\nlog: {level: info}\n", []string{`c.yaml:3:`}},
		{"a list at the top", "- a\n", []string{`c.yaml:1:1: is a list, want a section with keys`}},
		{"anchor", "data_dir: &a x\n", []string{`c.yaml:1:11: data_dir: is an anchor or alias, want one value`}},
		{"address", "listen: 8080\n", []string{`c.yaml:1:9: listen: "8080" is not an address; write HOST:PORT, such as 127.0.0.1:8080 or :8080`}},
		{"port", "listen: 127.0.0.1:99999\n", []string{`c.yaml:1:9: listen: "127.0.0.1:99999": the port is a number from 0 to 65535`}},
		{"origin without scheme", "origins: [app.example.com]\n", []string{`c.yaml:1:10: origins: [0]: "app.example.com" is not an origin; write it with its scheme, such as https://app.example.com`}},
		{"origin with path", "origins: [https://a.example/]\n", []string{`c.yaml:1:10: origins: [0]: "https://a.example/" is more than an origin`}},
		{"host with port", "hosts: ['a.example:80']\n", []string{`c.yaml:1:8: hosts: [0]: "a.example:80" is not a host name`}},
		{"plugin that is not bundled", "store: {plugin: store-blot}\n", []string{`c.yaml:1:17: store.plugin: "store-blot" is not bundled; did you mean "store-bolt"?; want store-bolt or none, or path and sha256 for another`}},
		{"plugin without checksum", "store: {path: /opt/x}\n", []string{`c.yaml:1:15: store.path: needs store.sha256, the checksum of the executable (sha256sum /opt/x)`}},
		{"plugin with a bad checksum", "store: {path: /opt/x, sha256: abc}\n", []string{`c.yaml:1:31: store.sha256: "abc" is not a checksum; want 64 hexadecimal digits`}},
		{"both plugin and path", "store: {plugin: none, path: /x, sha256: abc}\n", []string{`c.yaml:1:29: store.path: is set, and so is store.plugin`, `c.yaml:1:41: store.sha256:`}},
		{"config for no plugin", "store: {plugin: none, config: {a: 1}}\n", []string{`c.yaml:1:31: store.config: is set, but there is no plugin`}},
		{"open to the world", "listen: 0.0.0.0:8080\n", []string{`c.yaml:1:9: listen: 0.0.0.0:8080 can be reached from other machines and no authentication is configured`}},
		{"anonymous beside a plugin", "auth: {plugin: auth-jwt, anonymous: allow}\n", []string{`c.yaml:1:37: auth.anonymous: allow beside a plugin needs to say`}},
		{"anonymous lists for nobody", "auth: {anonymous_publish: [a]}\n", []string{`c.yaml:1:27: auth.anonymous_publish: takes effect only with`}},
		{"every mistake at once", "listne: x\nlog: {level: loud}\nlimits: {drain: 3}\n", []string{
			`c.yaml:1:1: unknown key "listne"`, `c.yaml:2:14: log.level: "loud"`, `c.yaml:3:17: limits.drain: "3" has no unit`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := load(t, tc.yaml)
			got := messages(t, err)
			if len(got) != len(tc.want) {
				t.Fatalf("found %d problems, want %d:\n%s", len(got), len(tc.want), strings.Join(got, "\n"))
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tc.want[i]) {
					t.Errorf("problem %d\n got %s\nwant %s…", i, got[i], tc.want[i])
				}
			}
		})
	}
}

func TestMistakesInTheEnvironmentAreNamed(t *testing.T) {
	for _, tc := range []struct{ name, env, want string }{
		{"unknown", "CARILLON_LISTN=x", `CARILLON_LISTN: no setting has this name; did you mean CARILLON_LISTEN?`},
		{"of a section", "CARILLON_LIMITS_FROBS=x", `CARILLON_LIMITS_FROBS: no setting has this name`},
		{"of a section to come", "CARILLON_TRACING_URL=x", `CARILLON_TRACING_URL: no setting has this name`},
		{"empty", "CARILLON_LISTEN=", `CARILLON_LISTEN: is empty`},
		{"bad value", "CARILLON_LIMITS_DRAIN=5", `CARILLON_LIMITS_DRAIN: "5" has no unit; write 5ms, 5s or 5m`},
		{"bad part of a list", "CARILLON_TOPICS=[{match: a, clss: live}]", `CARILLON_TOPICS: unknown key "topics[0].clss"; did you mean "class"?`},
		{"empty plugin configuration", "CARILLON_STORE_CONFIG=", `CARILLON_STORE_CONFIG: is empty`},
		{"found by Check in a list", "CARILLON_TOPICS=[{match: $sys.>, class: stored}]", `CARILLON_TOPICS: "$sys.>" is of the broker's own topics`},
		{"found by Check", "CARILLON_ADMIN_LISTEN=nowhere", `CARILLON_ADMIN_LISTEN: "nowhere" is not an address`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := load(t, "", tc.env)
			got := messages(t, err)
			if len(got) == 0 || !strings.HasPrefix(got[0], tc.want) {
				t.Errorf("got %q, want %s…", got, tc.want)
			}
		})
	}
}

func TestVariablesOfOthersAreLeftAlone(t *testing.T) {
	_, err := load(t, "", "CARILLON_TOKEN=x", "CARILLON_SERVER=y", "CARILLON_SERVICE_HOST=10.0.0.1", "CARILLON_PORT=tcp://10.0.0.1:80",
		"CARILLON_ADMIN_PORT_8081_TCP_ADDR=10.0.0.1", "HOME=/root", "CARILLON_JWT_SECRET=x", "CARILLON_URL=x")
	if err != nil {
		t.Error(err)
	}
}

func TestFlagBeforeEnvironmentBeforeFileBeforeDefault(t *testing.T) {
	yaml := "data_dir: file\nlog: {level: warn, format: json}\nhosts: [file.example]\n"
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Load(Source{
		File:    file,
		Environ: []string{"CARILLON_DATA_DIR=env", "CARILLON_LOG_LEVEL=error", "CARILLON_HOSTS=a.example, b.example"},
		Flags:   map[string]string{"data_dir": "flag"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{l.DataDir, l.Log.Level, l.Log.Format, l.Hosts, l.Limits.Drain}
	want := []any{"flag", "error", "json", []string{"a.example", "b.example"}, Duration(30 * time.Second)}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestEveryKeyCanBeReadBackFromShow(t *testing.T) {
	l, err := load(t, `
listen: 127.0.0.1:0
origins: ["https://*.example.com"]
topics: [{match: "metrics.>", class: live}, {match: a, class: stored}, {match: b, class: stored, history: {age: 36h, bytes: 1MiB}, sync: {interval: 20ms}}]
limits: {sessions: unlimited, resume_window: 1h30m, ring: 3MiB}
auth: {plugin: auth-jwt, config: {issuer: "a: b", n: 3}}
`)
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	if err := l.Show(&shown); err != nil {
		t.Fatal(err)
	}
	again, err := load(t, shown.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, shown.String())
	}
	if d := cmp.Diff(l.Config, again.Config, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	l, err := load(t, "auth:\n  plugin: auth-jwt\n  config:\n    keys: [{kid: a, secret: hunter2}]\n    db: {password: hunter2}\n    client_token: hunter2\n")
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	if err := l.Show(&shown); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(shown.String(), "hunter2") || strings.Count(shown.String(), Hidden) != 3 {
		t.Error(shown.String())
	}
}

func TestEveryKeyHasADefaultThatPasses(t *testing.T) {
	l, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range Keys() {
		if k.Doc == "" {
			t.Errorf("%s has no doc", k.Path)
		}
		switch v := k.value(l.Config).Interface().(type) {
		case Size, Count, Duration:
			if err := checkBounds(k.value(l.Config), k.field.Tag); err != nil {
				t.Errorf("%s: default %v: %v", k.Path, v, err)
			}
		}
	}
}

func TestOnlyLoopbackMayBeOpenWithoutSayingSo(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "127.9.9.9:1": true, "[::ffff:127.0.0.1]:1": true,
		":8080": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false, "nonsense": false,
	} {
		if got := IsLoopback(addr); got != want {
			t.Errorf("IsLoopback(%q) = %v, want %v", addr, got, want)
		}
	}
}

func FuzzLoadNeverPanics(f *testing.F) {
	for _, s := range []string{"listen: a\n", "topics: [{match: a, class: live}]", "a: &x [*x]\n", "auth: {config: {a: .nan, b: !!str 1}}", "? [a]\n: b\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := Load(Source{File: file}); err == nil {
			_ = l.Check()
		}
	})
}
