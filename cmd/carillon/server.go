package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/admin"
	"github.com/carillon-mq/carillon/broker/httpapi"
	"github.com/carillon-mq/carillon/broker/ws"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/front"
)

// server is a broker with its plugins and its doors.
type server struct {
	cfg     *config.Config
	log     *slog.Logger
	logFile *logFile // nil: what is in memory goes with the process
	plugins *plugins
	reloads *reloads
	broker  *broker.Broker
	ws      *ws.Handler
	api     *httpapi.Handler
	public  door
	paced   *front.Paced // of the public door; nil: connections are accepted as fast as they come
	admin   door         // its listener is nil when there is none

	certificates []*front.Certificate // of the doors that speak TLS

	serving sync.WaitGroup     // the doors' accept loops, collectAtRest, and who watches the certificates
	rested  context.CancelFunc // ends the latter two; nil before they began
}

// door is one listener and what serves it.
type door struct {
	listener net.Listener
	http     *http.Server
}

// mode is what `dev` and `serve` differ in.
type mode struct {
	dev       bool
	temporary bool                           // its data goes with it
	load      func() (*config.Config, error) // the configuration as it is now, in the file above all
}

// refusals is the level at which refusals are logged.
func (m mode) refusals() slog.Level {
	if m.dev {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// loadTime bounds the loading of what the store holds, and the starts of plugins beyond the first of each.
const loadTime = 30 * time.Second

// startTime bounds the start of plugins and the loading. A broker that is not ready by then has a configuration that does not work, or waits
// for somebody who stands at a breakpoint.
func startTime(c *config.Config) time.Duration {
	if c.Attaches() {
		return math.MaxInt64
	}
	limit := loadTime
	if c.HasAuth() || c.HasStore() {
		limit += time.Duration(max(c.Auth.StartTimeout, c.Store.StartTimeout))
	}
	return limit
}

// startServer starts everything, in this order: listeners (so that a taken port is told before anything is touched), plugins,
// the admin door (so that probes are answered meanwhile), the core, the public door. It returns when the broker is ready.
func startServer(ctx context.Context, cfg *config.Config, log *slog.Logger, m mode) (*server, error) {
	s := &server{cfg: cfg, log: log}
	if err := s.start(ctx, m); err != nil {
		s.abort()
		return nil, err
	}
	return s, nil
}

func (s *server) start(ctx context.Context, m mode) (err error) {
	if s.public.listener, err = listen(ctx, "listen", s.cfg.Listen); err != nil {
		return err
	}
	if s.cfg.Admin.Listen != config.None {
		if s.admin.listener, err = listen(ctx, "admin-listen", s.cfg.Admin.Listen); err != nil {
			return err
		}
		if err = s.secure(&s.admin, s.cfg.Admin.TLS); err != nil {
			return fmt.Errorf("admin.tls: %w", err)
		}
	}
	s.pace()
	if err = s.secure(&s.public, s.cfg.TLS); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	if s.plugins, err = startPlugins(s.cfg, s.log); err != nil {
		return err
	}
	s.reloads = newReloads(s.cfg, s.plugins, m.load, s.log)
	if !m.temporary {
		s.logFile = openLog(s.cfg.DataDir, s.log)
		defer s.logFile.release()
	}
	options := brokerOptions(s.cfg, s.log, m.refusals())
	options.Limits.Sessions = boundSessions(s.cfg.Limits.Sessions, openFiles(), s.log)
	s.plugins.into(&options)
	s.logFile.into(&options)
	if s.broker, err = broker.New(options); err != nil {
		return err
	}
	if err := s.openAdmin(); err != nil {
		return err
	}
	limit := startTime(s.cfg)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not ready within %v", limit))
	defer cancel()
	if err := s.plugins.wait(ctx); err != nil {
		return err
	}
	if err := s.logFile.spend(); err != nil {
		return fmt.Errorf("the last run's log could be used a second time: %w", err)
	}
	s.broker.Start()
	if err := s.openPublic(m); err != nil {
		return err
	}
	resting, rested := context.WithCancel(context.Background())
	s.rested = rested
	s.watchCertificates(resting)
	s.serving.Go(func() { collectAtRest(resting, func() int64 { return s.broker.Stats().Sessions }) })
	if err := s.broker.WaitReady(ctx); err != nil {
		return fmt.Errorf("%w: %w", err, s.broker.Ready())
	}
	return nil
}

// openPublic serves clients. What they need of the store before it is loaded is refused for the moment.
func (s *server) openPublic(m mode) error {
	api, err := httpapi.New(s.broker, httpapi.Options{
		Origins: s.cfg.Origins, Hosts: s.cfg.Hosts, Listen: []string{s.cfg.Listen}, AnyLoopbackOrigin: m.dev,
		Cookie: s.cfg.Auth.Cookie, AuthHeaders: s.cfg.Auth.Headers, TrustedProxies: s.cfg.TrustedProxies, TrustedHeader: s.cfg.TrustedHeader, Logger: s.log,
		Payload:        int(s.cfg.Limits.Payload),
		PublishBurst:   int(s.cfg.Limits.PublishBurst),
		PublishTimeout: time.Duration(s.cfg.Limits.StoreTimeout) + 5*time.Second,
	})
	if err != nil {
		return err
	}
	s.api = api
	s.ws = ws.New(s.broker, ws.Options{Rules: api.Rules(), Logger: s.log, PacketBytes: int(s.cfg.Limits.Payload) + packetRoom})
	if inTheClear(s.cfg) {
		s.log.Warn("tokens cross the network unencrypted", "addr", s.cfg.Listen,
			"hint", "configure tls, or listen on loopback behind a proxy that speaks TLS and list it in trusted_proxies")
	}
	api.HandleWebSocket(s.ws)
	api.HandlePages(pages(m))
	s.public.http = s.httpServer(api)
	s.serve(&s.public)
	return nil
}

// openAdmin serves operators.
func (s *server) openAdmin() error {
	if s.admin.listener == nil {
		return nil
	}
	options := admin.Options{Hosts: s.cfg.Hosts, Listen: []string{s.cfg.Admin.Listen}, Plugins: s.plugins.list, Reload: s.reloads.named, Version: version}
	if s.paced != nil {
		options.AcceptsDelayed = s.paced.Delayed
	}
	if s.plugins.store != nil {
		options.Store = s.plugins.store
	}
	ops, err := admin.New(s.broker, options)
	if err != nil {
		return err
	}
	s.admin.http = s.httpServer(ops)
	s.serve(&s.admin)
	return nil
}

// httpServer bounds what a connection may take before a handler sees it. Handlers bound bodies and answers themselves.
func (s *server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           front.Unwrapped(h),
		ReadHeaderTimeout: 5 * time.Second, // and as much for a TLS handshake
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,                                            // the doors refuse a quarter of that, in words
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // strangers' mistakes
	}
}

func (s *server) serve(d *door) {
	s.serving.Go(func() {
		if err := d.http.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("listener ended", "err", err)
		}
	})
}

// addresses are where the doors really are: a port 0 has become one.
func (s *server) addresses() (public, admin string) {
	admin = config.None
	if s.admin.listener != nil {
		admin = s.admin.listener.Addr().String()
	}
	return s.public.listener.Addr().String(), admin
}

// pluginCloseTime is kept of the time for a drain, to stop the plugins in.
const pluginCloseTime = 3 * time.Second

// drain ends the server kindly: readiness off, nobody new, every session told when to come back, accepted work finished, doors
// closed, plugins stopped. It takes limits.drain at most; what is left then is cut, which is the error.
func (s *server) drain() error {
	limit := time.Duration(s.cfg.Limits.Drain)
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, errors.New("the time for a drain is over"))
	defer cancel()
	work, workDone := context.WithTimeoutCause(ctx, max(limit-pluginCloseTime, limit/2), errors.New("the time for a drain is over"))
	defer workDone()

	var requests sync.WaitGroup
	var requestsErr error
	requests.Go(func() { requestsErr = s.public.http.Shutdown(work) }) // stops accepting at once
	err := s.broker.Drain(work)
	requests.Wait()
	if err == nil {
		s.keepLog(work)
	}
	if err == nil && requestsErr != nil {
		err = fmt.Errorf("HTTP requests: %w", requestsErr)
	}
	if err != nil {
		err = fmt.Errorf("drain: %w; %d sessions were cut", err, s.broker.Stats().Sessions)
	}
	s.close(ctx)
	return err
}

// keepLog leaves the log for the next run, from which clients then resume as if nothing had been. Without it they are told gaps.
func (s *server) keepLog(ctx context.Context) {
	if err := s.logFile.save(ctx, s.broker.WriteLog); err != nil {
		s.log.Warn("the log was not kept for the next start: clients will be told gaps", "err", err)
	}
}

// close ends at once what is still there.
func (s *server) close(ctx context.Context) {
	s.broker.Close()
	s.rested()
	for _, d := range []door{s.public, s.admin} {
		if d.http != nil {
			_ = d.http.Close() // its listener may be closed already
		}
	}
	s.serving.Wait()
	s.ws.Wait()
	s.api.Wait()
	if err := s.plugins.close(ctx); err != nil {
		s.log.Warn("plugin did not stop kindly", "err", err)
	}
}

// abort undoes a start that failed half-way.
func (s *server) abort() {
	for _, d := range []door{s.public, s.admin} {
		switch {
		case d.http != nil:
			_ = d.http.Close()
		case d.listener != nil:
			_ = d.listener.Close()
		}
	}
	if s.rested != nil {
		s.rested()
	}
	s.serving.Wait()
	if s.broker != nil {
		s.broker.Close()
	}
	if s.ws != nil {
		s.ws.Wait()
		s.api.Wait()
	}
	if s.plugins != nil {
		ctx, cancel := context.WithTimeout(context.Background(), pluginCloseTime)
		defer cancel()
		_ = s.plugins.close(ctx) // the start has failed: that is what is told
	}
}
