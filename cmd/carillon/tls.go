package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/httpapi"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/front"
	"github.com/carillon-mq/carillon/protocol"
)

var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// secure has the door speak TLS, if it is configured, and tell who speaks the wrong one of TLS and plain HTTP.
func (s *server) secure(d *door, t config.TLS) error {
	if !t.On() {
		d.listener = front.Plain(d.listener, s.wrongScheme)
		return nil
	}
	certificate, err := front.Open(front.Files{Cert: t.Cert, Key: t.Key}, s.cfg.Hosts, s.log)
	if err != nil {
		return err
	}
	s.certificates = append(s.certificates, certificate)
	d.listener = front.TLS(d.listener, certificate.Config(tlsVersions[t.MinVersion]), s.wrongScheme)
	return nil
}

// inTheClear reports whether tokens of clients cross a network unencrypted, as far as the configuration shows: a proxy that speaks TLS
// would be listed.
func inTheClear(c *config.Config) bool {
	return c.HasAuth() && !c.TLS.On() && !config.IsLoopback(c.Listen) && len(c.TrustedProxies) == 0
}

// wrongScheme has a client counted and logged that spoke TLS where there is none, or the reverse.
func (s *server) wrongScheme(remote string, e *protocol.Error) {
	s.broker.Refused(broker.Refusal{Code: e.Code, Detail: e.Detail, Hint: e.Hint, Transport: "http", Remote: remote})
}

// watchCertificates takes renewed certificates into use until the server rests.
func (s *server) watchCertificates(ctx context.Context) {
	for _, c := range s.certificates {
		s.serving.Go(func() { c.Watch(ctx) })
	}
}

// lookAtCertificates takes a renewed certificate into use now, and tells what is wrong with one that cannot be.
func (s *server) lookAtCertificates() {
	for _, c := range s.certificates {
		c.Look()
	}
}

// checkFiles reports what is wrong with the certificates that a configuration names, and in warnings what soon will be.
func checkFiles(l *config.Loaded) (problems config.KeyErrors, warnings []string) {
	for _, door := range []struct {
		path string
		config.TLS
	}{{"admin.tls.cert", l.Admin.TLS}, {"tls.cert", l.TLS}} {
		if !door.On() {
			continue
		}
		pair, err := front.Load(front.Files{Cert: door.Cert, Key: door.Key})
		if err != nil {
			problems = append(problems, l.Errorf(door.path, "%v", err))
			continue
		}
		for _, w := range pair.Warnings(l.Hosts, time.Now()) {
			warnings = append(warnings, door.path+": "+w)
		}
	}
	return problems, warnings
}

// checkProxies reports what is wrong with trusted_proxies.
func checkProxies(l *config.Loaded) (problems config.KeyErrors) {
	for i, p := range l.TrustedProxies {
		if err := httpapi.CheckProxy(p); err != nil {
			problems = append(problems, l.Errorf("trusted_proxies", "[%d]: %v", i, err))
		}
	}
	return problems
}

// trustFlags are what every verb that may speak TLS takes.
type trustFlags struct {
	CA string `name:"ca" help:"File with certificates (PEM) of authorities to trust beside the system's, for wss:// and https://." env:"CARILLON_CA" placeholder:"FILE"`
}

// config is a client's TLS configuration; nil for the usual one.
func (f *trustFlags) config() (*tls.Config, error) {
	if f.CA == "" {
		return nil, nil
	}
	pool, err := front.Trusted(f.CA)
	if err != nil {
		return nil, usage("--ca: %v", err)
	}
	return &tls.Config{RootCAs: pool}, nil
}

// client makes requests with that configuration.
func (f *trustFlags) client() (*http.Client, error) {
	c, err := f.config()
	if c == nil || err != nil {
		return http.DefaultClient, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = c
	return &http.Client{Transport: transport}, nil
}

// plainTLSError says what is wrong between a client and the broker's TLS; nil for another error.
func plainTLSError(err error) error {
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		issuer := "itself"
		if unknown.Cert != nil && unknown.Cert.Issuer.String() != unknown.Cert.Subject.String() {
			issuer = fmt.Sprintf("%q", unknown.Cert.Issuer.String())
		}
		return fmt.Errorf("its certificate is signed by %s, which this machine does not trust; if you do, name that certificate with --ca FILE", issuer)
	}
	if other, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("%w; use a name that the certificate is for", other)
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case ok && invalid.Reason == x509.Expired:
		return fmt.Errorf("its certificate is valid from %s to %s, and here it is %s; renew it, or set this machine's clock",
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339))
	case ok:
		return fmt.Errorf("its certificate is not good: %w", invalid)
	case errors.Is(err, http.ErrSchemeMismatch):
		return errors.New("no TLS is spoken there; write ws:// instead of wss://, or http:// instead of https://")
	}
	return nil
}
