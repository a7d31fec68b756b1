package front

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Files name a certificate chain, its owner's first, and the key of that, both in PEM.
type Files struct {
	Cert, Key string
}

// Pair is a certificate with its key, as the files had it.
type Pair struct {
	tls.Certificate
	files Files
	sum   [sha256.Size]byte // of what was read
}

// Load reads the files. The error names the one that is wrong and says what to do about it.
func Load(f Files) (*Pair, error) {
	t, err := f.read()
	if err != nil {
		return nil, err
	}
	return t.parse(f)
}

// texts are what the files hold.
type texts struct {
	cert, key []byte
	sum       [sha256.Size]byte
}

func (f Files) read() (t texts, err error) {
	if t.cert, err = read(f.Cert); err != nil {
		return t, err
	}
	if t.key, err = read(f.Key); err != nil {
		return t, err
	}
	t.sum = sha256.Sum256(slices.Concat(t.cert, []byte{0}, t.key))
	return t, nil
}

func (t texts) parse(f Files) (*Pair, error) {
	if err := checkKinds(f, t.cert, t.key); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(t.cert, t.key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s do not go together: %w; name a certificate and the key that it was made with", f.Cert, f.Key, err)
	}
	return &Pair{Certificate: pair, files: f, sum: t.sum}, nil
}

const maxFileBytes = 1 << 20

func read(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: the user with id %d may not read it: %w; give that user the right, or copy the file for it", path, os.Getuid(), err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case len(b) > maxFileBytes:
		return nil, fmt.Errorf("%s: more than %d bytes are neither a certificate nor a key", path, maxFileBytes)
	}
	return b, nil
}

// checkKinds finds the usual mistakes: files swapped, a key with a password, no PEM.
func checkKinds(f Files, cert, key []byte) error {
	certs, keyInCert, _ := kinds(cert)
	certInKey, keys, locked := kinds(key)
	switch {
	case certs == 0 && keyInCert > 0:
		return fmt.Errorf("%s holds a key and no certificate; are cert and key swapped?", f.Cert)
	case certs == 0:
		return fmt.Errorf("%s holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", f.Cert)
	case locked:
		return fmt.Errorf("%s is encrypted with a password, which nobody is there to type; decrypt it: openssl pkey -in %[1]s -out NEW", f.Key)
	case keys == 0 && certInKey > 0:
		return fmt.Errorf("%s holds a certificate and no key; are cert and key swapped?", f.Key)
	case keys == 0:
		return fmt.Errorf("%s holds no private key in PEM (-----BEGIN PRIVATE KEY-----)", f.Key)
	}
	return nil
}

func kinds(text []byte) (certs, keys int, locked bool) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return certs, keys, locked
		}
		switch {
		case block.Type == "CERTIFICATE":
			certs++
		case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			locked = true
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			keys++
		}
		text = rest
	}
}

// Warnings are what is not wrong now and will hurt somebody: an end that is near, names that are missing, a chain that is cut, a
// key that others may read. hosts are the names that clients use.
func (p *Pair) Warnings(hosts []string, now time.Time) []string {
	var out []string
	leaf := p.Leaf
	if text := p.ending(now); text != "" {
		out = append(out, text)
	}
	if now.Before(leaf.NotBefore) {
		out = append(out, fmt.Sprintf("%s is valid from %s on; until then clients refuse it", p.files.Cert, stamp(leaf.NotBefore)))
	}
	for _, h := range hosts {
		if strings.HasPrefix(h, "*.") {
			h = "any" + h[1:]
		}
		if err := leaf.VerifyHostname(strings.Trim(h, "[]")); err != nil {
			out = append(out, fmt.Sprintf("%s is for %s, which does not cover %s of hosts", p.files.Cert, names(leaf), h))
		}
	}
	if len(p.Certificate.Certificate) == 1 && len(leaf.IssuingCertificateURL) > 0 {
		out = append(out, fmt.Sprintf("%s holds one certificate and not its issuer's (%s), which clients may need; "+
			"name the file with the whole chain, which certbot calls fullchain.pem", p.files.Cert, leaf.Issuer.CommonName))
	}
	if info, err := os.Stat(p.files.Key); err == nil && info.Mode().Perm()&0o007 != 0 && runtime.GOOS != "windows" {
		out = append(out, fmt.Sprintf("%s can be read by every user of this machine; chmod o-rwx %[1]s", p.files.Key))
	}
	return out
}

// ending says that the certificate has expired or soon will: within two weeks, or the last quarter of a shorter life.
func (p *Pair) ending(now time.Time) string {
	left := p.Leaf.NotAfter.Sub(now)
	near := min(14*24*time.Hour, p.Leaf.NotAfter.Sub(p.Leaf.NotBefore)/4)
	switch {
	case left <= 0:
		return fmt.Sprintf("%s expired at %s: clients refuse it; renew it", p.files.Cert, stamp(p.Leaf.NotAfter))
	case left < near:
		return fmt.Sprintf("%s expires at %s, in %s; renew it", p.files.Cert, stamp(p.Leaf.NotAfter), left.Round(time.Minute))
	}
	return ""
}

// names are what the certificate is for, the first few of them.
func names(leaf *x509.Certificate) string {
	all := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	switch {
	case len(all) == 0:
		return "no name at all"
	case len(all) > 4:
		all = append(all[:4], "…")
	}
	return strings.Join(all, ", ")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Certificate is a Pair that is replaced when its files change. It is safe for concurrent use.
type Certificate struct {
	files   Files
	log     *slog.Logger
	now     func() time.Time
	current atomic.Pointer[Pair]

	mu     sync.Mutex
	failed string    // what the last look at the files found wrong
	told   bool      // and that it is in the log
	warned time.Time // when the end was last told
}

// Open loads the files for a listener. What Warnings has to say is logged.
func Open(f Files, hosts []string, log *slog.Logger) (*Certificate, error) {
	p, err := Load(f)
	if err != nil {
		return nil, err
	}
	c := &Certificate{files: f, log: log, now: time.Now}
	c.current.Store(p)
	for _, w := range p.Warnings(hosts, c.now()) {
		log.Warn("certificate", "path", f.Cert, "reason", w)
	}
	c.warned = c.now()
	return c, nil
}

// Config is a server's TLS configuration with the certificate. It speaks HTTP/1.1 only: a WebSocket and an event stream take
// over their connection, which HTTP/2 cannot give away.
func (c *Certificate) Config(minVersion uint16) *tls.Config {
	return &tls.Config{
		MinVersion: minVersion,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.current.Load().Certificate, nil
		},
	}
}

// lookEvery is how soon a change of the files is seen. They are small, and read whole each time: that tells a change whatever
// way it was made, by a rename, a link, or a mount of a container.
const lookEvery = 5 * time.Second

// Watch looks at the files until ctx ends.
func (c *Certificate) Watch(ctx context.Context) {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			c.look(false)
		case <-ctx.Done():
			return
		}
	}
}

// Look reads the files now and tells what it finds.
func (c *Certificate) Look() { c.look(true) }

// look takes the files if they are good and have changed. Files that are wrong are told when two looks in a row find the same, or
// at once: between the writing of a certificate and of its key they do not go together.
func (c *Certificate) look(atOnce bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.takeLocked(); err != nil {
		c.tellFailureLocked(err, atOnce)
	} else {
		c.failed, c.told = "", false
	}
	c.tellEndingLocked()
}

func (c *Certificate) takeLocked() error {
	t, err := c.files.read()
	before := c.current.Load()
	if err != nil || t.sum == before.sum {
		return err
	}
	p, err := t.parse(c.files)
	if err != nil {
		return err
	}
	if !p.good(c.now()) && before.good(c.now()) {
		return fmt.Errorf("%s is valid from %s to %s, which is not now", c.files.Cert, stamp(p.Leaf.NotBefore), stamp(p.Leaf.NotAfter))
	}
	c.warned = time.Time{}
	c.current.Store(p)
	c.log.Info("new certificate in use", "path", c.files.Cert, "reason", "valid until "+stamp(p.Leaf.NotAfter))
	return nil
}

func (p *Pair) good(now time.Time) bool {
	return !now.Before(p.Leaf.NotBefore) && now.Before(p.Leaf.NotAfter)
}

func (c *Certificate) tellFailureLocked(err error, atOnce bool) {
	again := err.Error() == c.failed
	if !again {
		c.failed, c.told = err.Error(), false
	}
	if c.told || !again && !atOnce {
		return
	}
	c.told = true
	c.log.Error("certificate files cannot be used; the old certificate stays", "err", err, "path", c.files.Cert,
		"hint", "put the right files in place: they are read again within seconds, without a restart")
}

// tellEndingLocked warns once a day.
func (c *Certificate) tellEndingLocked() {
	text := c.current.Load().ending(c.now())
	if text == "" || c.now().Sub(c.warned) < 24*time.Hour {
		return
	}
	c.warned = c.now()
	c.log.Warn("certificate", "path", c.files.Cert, "reason", text)
}

// Trusted are the machine's certificate authorities and those in file.
func Trusted(file string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	text, err := read(file)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(text) {
		if bytes.Contains(text, []byte("PRIVATE KEY")) {
			return nil, fmt.Errorf("%s holds a key, want certificates in PEM", file)
		}
		return nil, fmt.Errorf("%s holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", file)
	}
	return pool, nil
}
