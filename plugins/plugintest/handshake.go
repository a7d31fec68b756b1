package plugintest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
)

// maxHandshake bounds the first line on standard output.
const maxHandshake = 8 << 10

// handshake is what a plugin says in its first line.
type handshake struct {
	network, address string
	certificate      *x509.Certificate
}

// shake reads the first line and holds it to the contract.
func (in *process) shake(ctx context.Context) error {
	select {
	case first := <-in.first:
		if first.err != nil {
			in.wait(time.Second)
			return fmt.Errorf("expected a first line of at most %d bytes on standard output, got %q and then %w; the process: %s",
				maxHandshake, cutTo(first.text, 100), first.err, in.how())
		}
		if err := in.parse(first.text); err != nil {
			return fmt.Errorf("the first line on standard output is %q: %w", cutTo(strings.TrimSpace(first.text), 150), err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: expected the handshake on standard output, got nothing", context.Cause(ctx))
	}
}

func (in *process) parse(text string) error {
	fields := strings.Split(strings.TrimRight(text, "\r\n"), "|")
	if len(fields) < 5 || len(fields) > 7 {
		return fmt.Errorf("expected 1|%d|unix|ADDRESS|grpc|CERTIFICATE, got %d fields", wire.ContractVersion, len(fields))
	}
	for i, want := range map[int]string{0: "1", 1: strconv.Itoa(wire.ContractVersion), 4: "grpc"} {
		if fields[i] != want {
			return fmt.Errorf("expected %q as field %d, got %q", want, i+1, fields[i])
		}
	}
	in.handshake = handshake{network: fields[2], address: fields[3]}
	if err := in.checkAddress(); err != nil {
		return err
	}
	certificate := ""
	if len(fields) > 5 {
		certificate = fields[5]
	}
	if given := certificate != ""; given != (in.tls != nil) {
		return fmt.Errorf("expected a certificate exactly when PLUGIN_CLIENT_CERT is set: it was %t, the field was %t", in.tls != nil, given)
	}
	if certificate == "" {
		return nil
	}
	der, err := base64.RawStdEncoding.DecodeString(certificate)
	if err == nil {
		in.handshake.certificate, err = x509.ParseCertificate(der)
	}
	if err != nil {
		return fmt.Errorf("expected the certificate as DER in base64 without padding: %w", err)
	}
	return nil
}

func (in *process) checkAddress() error {
	h := in.handshake
	if runtime.GOOS == "windows" {
		host, _, err := net.SplitHostPort(h.address)
		if ip := net.ParseIP(host); err != nil || h.network != "tcp" || ip == nil || !ip.IsLoopback() {
			return fmt.Errorf("expected a port of 127.0.0.1, got %q %q", h.network, h.address)
		}
		return nil
	}
	if h.network != "unix" || filepath.Clean(h.address) != h.address || filepath.Dir(h.address) != in.sockets {
		return fmt.Errorf("expected a socket directly in PLUGIN_UNIX_SOCKET_DIR (%s), got %q %q", in.sockets, h.network, h.address)
	}
	info, err := os.Lstat(h.address)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("expected that the plugin listens before it prints, found no socket at %q", h.address)
	}
	return nil
}

// connect makes the connection that everything is asked over.
func (in *process) connect() error {
	secure := insecure.NewCredentials()
	if in.tls != nil {
		secure = credentials.NewTLS(in.tls.client(in.handshake.certificate))
	}
	conn, err := grpc.NewClient("passthrough:///plugin",
		append(wire.DialOptions(), grpc.WithTransportCredentials(secure), grpc.WithContextDialer(in.dial))...)
	if err != nil {
		return err
	}
	in.conn = conn
	in.common = commonv1pb.NewPluginServiceClient(conn)
	in.auth, in.store = wire.NewAuthClient(conn), wire.NewStoreClient(conn)
	in.group.Go(func() { in.store.Run(in.ctx) })
	return nil
}

// keys are a certificate of the broker's side.
type keys struct {
	certificate tls.Certificate
	pem         string
}

// newKeys makes a certificate like the broker's: a P-256 key, for both ends, its own authority.
func newKeys() (*keys, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost", Organization: []string{"Carillon"}}, DNSNames: []string{"localhost"}, SerialNumber: serial,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &keys{
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem:         string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	}, nil
}

// client is the broker's side of a connection to a plugin that has shown this certificate.
func (k *keys) client(plugin *x509.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(plugin)
	return &tls.Config{Certificates: []tls.Certificate{k.certificate}, RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

func cutTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
