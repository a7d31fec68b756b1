package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
)

// devCmd is `carillon dev`.
type devCmd struct {
	settings
}

// Run runs a broker to try things with. Without --data-dir its data is in a temporary folder that goes with it.
func (c *devCmd) Run(ctx context.Context, s streams) error {
	temporary, remove, err := devFolder()
	if err != nil {
		return err
	}
	defer remove()
	base := func() *config.Config {
		b := config.Default()
		b.DataDir, b.Unsupervised = temporary, config.Allow
		return b
	}
	cfg, err := c.mustLoad(s, base())
	if err != nil {
		return err
	}
	storeSome(cfg)
	again := func() (*config.Config, error) {
		cfg, err := c.again(base())
		if err == nil {
			storeSome(cfg)
		}
		return cfg, err
	}
	return runBroker(ctx, cfg, s, mode{dev: true, temporary: cfg.DataDir == temporary, load: again}, func(ctx context.Context, srv *server) {
		public, admin := srv.addresses()
		fmt.Fprint(s.err, welcome(public, admin, cfg, cfg.DataDir == temporary))
		tick(ctx, srv.broker)
	})
}

// devStored is what `dev` stores where the configuration has no rules.
const devStored = "stored.>"

// storeSome lets stored topics be tried without a configuration.
func storeSome(c *config.Config) {
	if len(c.Topics) == 0 && c.Store.Plugin == config.Bundled["store"][0] && c.Store.Path == "" && c.Store.Attach == "" {
		c.Topics = []config.Topic{{Match: devStored, Class: "stored"}}
	}
}

// welcome is what `dev` opens with: where it is, and lines to paste.
func welcome(public, admin string, cfg *config.Config, temporary bool) string {
	_, port, _ := net.SplitHostPort(public)
	host := public
	if strings.HasPrefix(public, "[::]") || strings.HasPrefix(public, "0.0.0.0") {
		host = "127.0.0.1:" + port
	}
	ws, web, adminWeb := "ws", "http", "http"
	if cfg.TLS.On() {
		ws, web = "wss", "https"
	}
	if cfg.Admin.TLS.On() {
		adminWeb = "https"
	}
	command, server := commandName(), ""
	if host != "127.0.0.1:8080" || cfg.TLS.On() {
		server = " --server " + ws + "://" + host + "/ws"
	}
	kept := "kept"
	if temporary {
		kept = "removed at the end; --data-dir DIR keeps it"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n  Try it      %s://%s/\n", web, host)
	fmt.Fprintf(&b, "  WebSocket   %s://%s/ws\n", ws, host)
	fmt.Fprintf(&b, "  HTTP        %s://%s/v1/topics/{topic}\n", web, host)
	if admin != config.None {
		fmt.Fprintf(&b, "  Operators   %s://%s/metrics\n", adminWeb, admin)
	}
	fmt.Fprintf(&b, "  Data        %s (%s)\n", cfg.DataDir, kept)
	fmt.Fprintf(&b, "\nWatch a topic that ticks:\n\n  %s sub%s 'demo.>'\n", command, server)
	fmt.Fprintf(&b, "\nSubscribe in one terminal, publish from another:\n\n  %s sub%s 'orders.>'\n", command, server)
	fmt.Fprintf(&b, "  curl -d '{\"total\":5}' %s://%s/v1/topics/orders.42\n", web, host)
	fmt.Fprintf(&b, "  %s pub%s orders.42 '{\"total\":6}'\n", command, server)
	if slices.ContainsFunc(cfg.Topics, func(t config.Topic) bool { return t.Match == devStored }) {
		fmt.Fprintf(&b, "\nTopics below `stored` keep their messages:\n\n  %s pub%s stored.log 'hello'\n", command, server)
		fmt.Fprintf(&b, "  %s history%s stored.log\n", command, server)
	}
	b.WriteString("\n")
	return b.String()
}

// commandName is how this executable can be called from the same folder.
func commandName() string {
	self, err := os.Executable()
	if err != nil {
		return "carillon"
	}
	name := filepath.Base(os.Args[0])
	if found, err := exec.LookPath(name); err == nil && found == self {
		return name
	}
	return os.Args[0]
}

// tick publishes to demo.tick every second until ctx ends.
func tick(ctx context.Context, b *broker.Broker) {
	everySecond := time.NewTicker(time.Second)
	defer everySecond.Stop()
	for n := 1; ; n++ {
		select {
		case now := <-everySecond.C:
			payload, err := json.Marshal(map[string]any{"n": n, "time": now.Format(time.RFC3339)})
			if err != nil {
				return
			}
			// A broker that is full or draining refuses it; the next one comes in a second.
			_, _ = b.Publish(ctx, broker.Everybody(), broker.PublishRequest{
				Topic: "demo.tick", Payload: payload, ContentType: "application/json",
			})
		case <-ctx.Done():
			return
		}
	}
}
