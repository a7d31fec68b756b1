package front

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/internal/testcert"
)

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// logged is what was logged so far.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) count(text string) int { return strings.Count(l.String(), text) }

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func TestFilesThatCannotBeUsedAreExplained(t *testing.T) {
	authority := testcert.New(t)
	cert, key := authority.Issue(t, testcert.Request{})
	_, otherKey := authority.Issue(t, testcert.Request{})
	for _, tc := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"good", cert, key, ""},
		{"both in each", append(append([]byte{}, cert...), key...), append(append([]byte{}, cert...), key...), ""},
		{"swapped", key, cert, "cert.pem holds a key and no certificate; are cert and key swapped?"},
		{"the certificate twice", cert, cert, "key.pem holds a certificate and no key; are cert and key swapped?"},
		{"another's key", cert, otherKey, "do not go together: tls: private key does not match public key; name a certificate and the key that it was made with"},
		{"no PEM", []byte("\x30\x82"), key, "cert.pem holds no certificate in PEM"},
		{"empty", nil, key, "cert.pem holds no certificate in PEM"},
		{"an empty key", cert, nil, "key.pem holds no private key in PEM"},
		{"a key with a password", cert, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), "key.pem is encrypted with a password, which nobody is there to type; decrypt it: openssl pkey -in"},
		{"a certificate that was cut off", cert[:len(cert)/2], key, "cert.pem holds no certificate in PEM"},
		{"a certificate with a fault", bytes.Replace(cert, cert[100:104], []byte("AAAA"), 1), key, "do not go together"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			f := Files{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
			write(t, f.Cert, tc.cert)
			write(t, f.Key, tc.key)
			_, err := Load(f)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), string(key[40:60])) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
	_, err := Load(Files{"/nowhere/cert.pem", "/nowhere/key.pem"})
	if err == nil || err.Error() != "/nowhere/cert.pem: no such file or directory" {
		t.Errorf("a missing file: %v", err)
	}
}

func TestWhatWillHurtSomebodyIsWarnedOf(t *testing.T) {
	authority := testcert.New(t)
	now := time.Now()
	for _, tc := range []struct {
		name  string
		r     testcert.Request
		hosts []string
		want  string
	}{
		{"nothing", testcert.Request{}, []string{"localhost", "127.0.0.1"}, ""},
		{"expired", testcert.Request{NotBefore: now.AddDate(0, -3, 0), NotAfter: now.Add(-time.Hour)}, nil, "expired at "},
		{"soon over", testcert.Request{NotBefore: now.AddDate(0, -3, 0), NotAfter: now.Add(5 * 24 * time.Hour)}, nil, ", in 120h0m0s; renew it"},
		{"made for six days, of which four are left", testcert.Request{NotBefore: now.Add(-2 * 24 * time.Hour), NotAfter: now.Add(4 * 24 * time.Hour)}, nil, ""},
		{"made for six days, of which one is left", testcert.Request{NotBefore: now.Add(-5 * 24 * time.Hour), NotAfter: now.Add(24 * time.Hour)}, nil, "expires at "},
		{"not yet valid", testcert.Request{NotBefore: now.Add(time.Hour)}, nil, "until then clients refuse it"},
		{"another name", testcert.Request{Names: []string{"a.example", "b.example"}}, []string{"a.example", "c.example"}, "is for a.example, b.example, which does not cover c.example of hosts"},
		{"a name below", testcert.Request{Names: []string{"*.a.example"}}, []string{"*.a.example"}, ""},
		{"a chain that is cut", testcert.Request{IssuerURL: "http://ca.example/r10.crt"}, nil, "which certbot calls fullchain.pem"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var f Files
			f.Cert, f.Key = authority.Files(t, t.TempDir(), tc.r)
			p, err := Load(f)
			if err != nil {
				t.Fatal(err)
			}
			got := p.Warnings(tc.hosts, now)
			if tc.want == "" && len(got) > 0 || tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
	var f Files
	f.Cert, f.Key = authority.Files(t, t.TempDir(), testcert.Request{})
	if err := os.Chmod(f.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := Load(f)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Warnings(nil, now); len(got) != 1 || !strings.Contains(got[0], "chmod o-rwx") {
		t.Errorf("a key that everybody can read: %q", got)
	}
}

func TestNewFilesAreTakenAndBrokenOnesLeaveTheOldCertificate(t *testing.T) {
	authority := testcert.New(t)
	dir := t.TempDir()
	var f Files
	f.Cert, f.Key = authority.Files(t, dir, testcert.Request{})
	newCert, newKey := authority.Issue(t, testcert.Request{})
	expiredCert, expiredKey := authority.Issue(t, testcert.Request{NotBefore: time.Now().AddDate(0, -2, 0), NotAfter: time.Now().Add(-time.Hour)})

	log := &logged{}
	c, err := Open(f, nil, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	first := c.current.Load()

	write(t, f.Cert, newCert) // the key is still the old one's
	c.look(false)
	if c.current.Load() != first || log.String() != "" {
		t.Fatalf("between two files of a renewal: %s", log)
	}
	write(t, f.Key, newKey)
	c.look(false)
	second := c.current.Load()
	if second == first || log.count("new certificate in use") != 1 {
		t.Fatalf("the new certificate is not in use: %s", log)
	}

	write(t, f.Cert, []byte("oops"))
	for range 3 {
		c.look(false)
	}
	if c.current.Load() != second {
		t.Fatal("a broken file is in use")
	}
	if n := log.count("level=ERROR"); n != 1 || log.count("cert.pem holds no certificate in PEM") != 1 || log.count("hint=") != 1 {
		t.Fatalf("a broken file was told %d times, want once: %s", n, log)
	}
	os.Remove(f.Cert)
	c.Look()
	if c.current.Load() != second || log.count("no such file") != 1 {
		t.Fatalf("a missing file: %s", log)
	}

	write(t, f.Cert, expiredCert)
	write(t, f.Key, expiredKey)
	c.Look()
	if c.current.Load() != second || log.count("which is not now") != 1 {
		t.Fatalf("a certificate that has expired replaced one that is good: %s", log)
	}

	write(t, f.Cert, newCert)
	write(t, f.Key, newKey)
	c.Look()
	if c.current.Load() != second || log.count("level=ERROR") != 3 {
		t.Errorf("the files are good again: %s", log)
	}
}

func TestARenewalByLinksIsSeen(t *testing.T) {
	authority := testcert.New(t)
	archive, live := t.TempDir(), t.TempDir()
	var f Files
	f.Cert, f.Key = filepath.Join(live, "fullchain.pem"), filepath.Join(live, "privkey.pem")
	link := func(generation string) {
		dir := filepath.Join(archive, generation)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		cert, key := authority.Files(t, dir, testcert.Request{})
		for name, target := range map[string]string{f.Cert: cert, f.Key: key} {
			os.Remove(name)
			if err := os.Symlink(target, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	link("1")
	c, err := Open(f, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first := c.current.Load()
	link("2")
	c.look(false)
	if c.current.Load() == first {
		t.Error("the old certificate is still in use")
	}
}

func TestTheFilesAreLookedAtAndTheEndIsToldOnceADay(t *testing.T) {
	authority := testcert.New(t)
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var f Files
		f.Cert, f.Key = authority.Files(t, t.TempDir(), testcert.Request{NotBefore: begin.Add(-90 * 24 * time.Hour), NotAfter: begin.Add(3 * 24 * time.Hour)})
		log := &logged{}
		c, err := Open(f, nil, log.logger())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour+time.Hour)
		defer cancel()
		c.Watch(ctx)
		if n := log.count("expires at"); n != 2 {
			t.Errorf("the end was told %d times in a day, want at its start and its end: %s", n, log)
		}
		renewed, key := authority.Issue(t, testcert.Request{NotBefore: begin, NotAfter: begin.Add(90 * 24 * time.Hour)})
		write(t, f.Cert, renewed)
		write(t, f.Key, key)
		ctx, cancel = context.WithTimeout(t.Context(), 2*lookEvery)
		defer cancel()
		c.Watch(ctx)
		if log.count("new certificate in use") != 1 {
			t.Errorf("the renewal was not seen: %s", log)
		}
	})
}

func TestAuthoritiesAreReadFromAFile(t *testing.T) {
	authority := testcert.New(t)
	if _, err := Trusted(authority.File); err != nil {
		t.Error(err)
	}
	_, key := authority.Files(t, t.TempDir(), testcert.Request{})
	for file, want := range map[string]string{
		key: "holds a key, want certificates in PEM", "/nowhere/ca.pem": "no such file", "listener.go": "holds no certificate in PEM",
	} {
		if _, err := Trusted(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}
