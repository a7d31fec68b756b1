package plugintest_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
	"github.com/carillon-mq/carillon/plugins/kit"
	"github.com/carillon-mq/carillon/plugins/store-bolt/storebolt"
)

// handmade is a plugin without the kit: it shakes hands and serves what the contract says, and no more. Its fault, if it has one, is a
// row of testdata/faults.md.
type handmade struct {
	commonv1pb.UnimplementedPluginServiceServer
	kind, fault string

	mu    sync.Mutex
	auth  broker.Authenticator
	store kit.Store
	busy  sync.Mutex // of deaf-while-busy
	feeds sync.Mutex // of one-follower
	end   context.CancelFunc
}

func serveHandmade(kind, fault string) {
	h := &handmade{kind: kind, fault: fault}
	if os.Getenv(wire.CookieKey) != wire.CookieValue {
		fmt.Fprintln(os.Stderr, "a plugin of a test")
		os.Exit(2)
	}
	signal.Ignore(syscall.SIGTERM)
	go func() { // as long as the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		if fault != "lifeline-ignored" {
			os.Exit(0)
		}
	}()
	if err := h.serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (h *handmade) serve() error {
	if h.fault == "slow-to-start" {
		time.Sleep(12 * time.Second)
	}
	address := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s")
	listener, err := net.Listen("unix", address)
	if err != nil {
		return err
	}
	options, certificate, err := h.certificates()
	if err != nil {
		return err
	}
	server := grpc.NewServer(append(append(options, wire.ServerOptions()...), grpc.UnaryInterceptor(h.unary), grpc.StreamInterceptor(h.stream))...)
	commonv1pb.RegisterPluginServiceServer(server, h)
	if h.kind == kit.KindAuth {
		wire.RegisterAuth(server, func() broker.Authenticator {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.auth
		})
	} else {
		wire.RegisterStore(server, func() broker.Store {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.store
		})
	}
	if h.fault == "talks-first" {
		fmt.Println("Hello, this is a plugin.")
	}
	fmt.Printf("1|1|unix|%s|grpc|%s\n", address, certificate)
	return server.Serve(listener)
}

// certificates make the server's end of TLS, if the host wants it.
func (h *handmade) certificates() (options []grpc.ServerOption, certificate string, err error) {
	host := os.Getenv("PLUGIN_CLIENT_CERT")
	if host == "" {
		return nil, "", nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if h.fault == "common-name-alone" {
		template.DNSNames, template.Subject.CommonName = nil, "localhost"
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, "", err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM([]byte(host))
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS12,
	}
	if h.fault == "any-certificate" {
		config.ClientAuth = tls.RequestClientCert
	}
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(config))}, base64.RawStdEncoding.EncodeToString(der), nil
}

// Describe implements the service.
func (h *handmade) Describe(context.Context, *commonv1pb.DescribeRequest) (*commonv1pb.DescribeResponse, error) {
	d := &commonv1pb.DescribeResponse{Name: h.kind + "-handmade", Version: "1", Kind: h.kind, ContractVersions: []uint32{1}}
	switch {
	case h.fault == "trimmed-in-silence", h.fault == "feed-drops", h.fault == "batches-overtake": // of the bundled store
		d.Capabilities = []string{"durability:fsync", "terms", "history", "ttl", "keys", "statistics", "backup"}
	case h.kind == kit.KindStore:
		d.Capabilities = []string{"durability:fsync"}
	default:
		d.Capabilities = []string{"authorize", "revocations"}
	}
	return d, nil
}

// Configure implements the service.
func (h *handmade) Configure(_ context.Context, r *commonv1pb.ConfigureRequest) (*commonv1pb.ConfigureResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.auth != nil || h.store != nil {
		if h.fault == "configured-twice" {
			return &commonv1pb.ConfigureResponse{}, nil
		}
		return nil, status.Error(codes.FailedPrecondition, "configured already")
	}
	c, err := parse(bytes.TrimSpace(r.GetConfig()))
	if err == nil {
		err = h.openLocked(c)
	}
	if bad, ok := errors.AsType[*kit.ConfigError](err); ok && h.fault != "config-error-passes" {
		return nil, status.Error(codes.InvalidArgument, bad.Reason)
	}
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &commonv1pb.ConfigureResponse{}, nil
}

func (h *handmade) openLocked(c config) error {
	if h.kind == kit.KindAuth {
		h.auth = newTokens(c.Dir, h.fault)
		return nil
	}
	var err error
	switch h.fault {
	case "trimmed-in-silence", "feed-drops", "batches-overtake":
		var s *storebolt.Store
		if s, err = storebolt.Open(storebolt.Config{Dir: c.Dir}); err == nil {
			h.store = map[string]func(*storebolt.Store) kit.Store{
				"trimmed-in-silence": powerFaults["a history does not tell what is trimmed"],
				"feed-drops":         storeFaults["a feed drops one of 50"],
				"batches-overtake":   storeFaults["batches overtake each other"],
			}[h.fault](s)
		}
	default:
		var s *logStore
		if s, err = openLogStore(c.Dir, h.fault); err == nil {
			h.store = s
		}
	}
	return err
}

// Health implements the service.
func (h *handmade) Health(context.Context, *commonv1pb.HealthRequest) (*commonv1pb.HealthResponse, error) {
	if h.fault == "deaf-while-busy" {
		h.busy.Lock()
		defer h.busy.Unlock()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.auth == nil && h.store == nil {
		return &commonv1pb.HealthResponse{Status: commonv1pb.HealthResponse_STATUS_NOT_SERVING}, nil
	}
	return &commonv1pb.HealthResponse{Status: commonv1pb.HealthResponse_STATUS_SERVING}, nil
}

// stream changes what a store answers on its streams.
func (h *handmade) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	switch {
	case info.FullMethod == authv1pb.AuthService_Revocations_FullMethodName:
		return next(srv, &spoiling{s, h.fault})
	case h.fault == "answers-swapped" && info.FullMethod == storev1pb.StoreService_Append_FullMethodName:
		return next(srv, &swapping{ServerStream: s})
	case h.fault == "load-in-one-message" && info.FullMethod == storev1pb.StoreService_LoadRetained_FullMethodName:
		return next(srv, &joining{ServerStream: s})
	case h.fault == "load-without-last" && info.FullMethod == storev1pb.StoreService_LoadRetained_FullMethodName:
		return next(srv, &endless{s})
	case h.fault == "one-follower" && info.FullMethod == storev1pb.StoreService_Follow_FullMethodName:
		ctx, cancel := context.WithCancel(s.Context())
		h.feeds.Lock()
		if h.end != nil {
			h.end()
		}
		h.end = cancel
		h.feeds.Unlock()
		return next(srv, &ending{s, ctx})
	}
	return next(srv, s)
}

// swapping sends the first of two messages that come within 20 ms last.
type swapping struct {
	grpc.ServerStream
	mu   sync.Mutex
	held any
}

// SendMsg implements grpc.ServerStream.
func (s *swapping) SendMsg(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		held := s.held
		s.held = nil
		return errors.Join(s.ServerStream.SendMsg(m), s.ServerStream.SendMsg(held))
	}
	s.held = m
	time.AfterFunc(20*time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.held == m {
			s.held = nil
			_ = s.ServerStream.SendMsg(m)
		}
	})
	return nil
}

// joining makes one message of all.
type joining struct {
	grpc.ServerStream
	all storev1pb.LoadRetainedResponse
}

// SendMsg implements grpc.ServerStream.
func (s *joining) SendMsg(m any) error {
	page := m.(*storev1pb.LoadRetainedResponse)
	s.all.Records = append(s.all.Records, page.GetRecords()...)
	if !page.GetLast() {
		return nil
	}
	s.all.Head, s.all.Last = page.GetHead(), true
	return s.ServerStream.SendMsg(&s.all)
}

// endless leaves out the end.
type endless struct{ grpc.ServerStream }

// SendMsg implements grpc.ServerStream.
func (s *endless) SendMsg(m any) error {
	m.(*storev1pb.LoadRetainedResponse).Last = false
	return s.ServerStream.SendMsg(m)
}

// ending ends with a context of its own.
type ending struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *ending) Context() context.Context { return s.ctx }
