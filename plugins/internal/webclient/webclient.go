// Package webclient makes the HTTP clients with which plugins ask a server that the operator has named. What they send is secret or decides who
// gets in, so it goes to that server and nowhere else: certificates are checked, redirects are not followed.
package webclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Options say whom a client trusts and how it connects. The zero value trusts the system's authorities and closes each connection behind its
// answer.
type Options struct {
	CA        string        // file with certificates (PEM) of authorities to trust beside the system's
	Cert, Key string        // files with a certificate to show, and its key, in PEM: both or neither
	Handshake time.Duration // longest time for that of TLS; 0: any
	Conns     int           // connections to a server, which are kept for 30 s; 0: as many as there are requests, kept for none
}

const (
	maxHeaderBytes = 64 << 10
	idleTime       = 30 * time.Second
)

// New reads the files. Its errors begin with the name of the option that is wrong, as configurations call it.
func New(o Options) (*http.Client, error) {
	trust, err := o.tls()
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: trust, TLSHandshakeTimeout: o.Handshake, MaxResponseHeaderBytes: maxHeaderBytes, DisableCompression: true,
			DisableKeepAlives: o.Conns == 0, MaxConnsPerHost: o.Conns, MaxIdleConnsPerHost: o.Conns, IdleConnTimeout: idleTime,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func (o Options) tls() (*tls.Config, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s holds no certificate in PEM", o.CA)
		}
		trust.RootCAs = pool
	}
	if (o.Cert == "") != (o.Key == "") {
		return nil, errors.New("cert and key go together")
	}
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	return trust, nil
}

// IsLoopback reports whether host, of a URL, is this machine, so that what is sent there in the clear crosses no network.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
