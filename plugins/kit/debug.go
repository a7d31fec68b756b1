package kit

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

// debugFlag is the argument with which a person starts a plugin, under a debugger as a rule.
const debugFlag = "--debug"

// debugging reports whether a person has started the plugin to look into it. A broker gives no such argument.
func debugging() bool {
	return os.Getenv(wire.CookieKey) != wire.CookieValue && slices.Contains(os.Args[1:], debugFlag)
}

// serveDebug serves p at a socket in a new folder that only this user can enter, says on standard error how to attach to it, and ends with
// an interrupt. There is no handshake, no lifeline and nobody who kills the process when it stands still.
func serveDebug(p Plugin) error {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupted)
	dir, err := os.MkdirTemp("", "carillon-debug-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	address := filepath.Join(dir, "plugin")
	listener, err := net.Listen("unix", address)
	if err != nil {
		return fmt.Errorf("listen in TMPDIR (a socket's path has 104 bytes at most): %w", err)
	}
	s := &server{plugin: p}
	g := grpc.NewServer(wire.ServerOptions()...)
	s.register(g)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-interrupted
		g.Stop()
	}()
	fmt.Fprintf(os.Stderr, "%s waits at unix:%s\ncarillon plugin test --attach unix:%[2]s --only CASE\n", p.Name, address)
	err = g.Serve(listener)
	signal.Stop(interrupted)
	if err != nil {
		return err
	}
	<-stopped
	if err := s.close(); err != nil {
		slog.Error("plugin did not close cleanly", "err", err)
		return err
	}
	return nil
}
