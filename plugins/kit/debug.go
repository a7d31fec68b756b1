package kit

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

// debugFlag is the argument with which a person starts a plugin, under a debugger as a rule: --debug, or --debug=unix:/path to be found at the
// same place the next time.
const debugFlag = "--debug"

// debugging returns where a person who has started the plugin to look into it wants it to listen; empty is anywhere. A broker gives no
// such argument.
func debugging() (address string, ok bool) {
	if os.Getenv(wire.CookieKey) == wire.CookieValue {
		return "", false
	}
	for _, arg := range os.Args[1:] {
		if arg == debugFlag {
			return "", true
		}
		if address, ok := strings.CutPrefix(arg, debugFlag+"="); ok {
			return address, true
		}
	}
	return "", false
}

// listenDebug listens where nobody but this user can connect: at the address, or in a new folder that only this user can enter. remove takes
// away what it has made.
func listenDebug(address string) (listener net.Listener, path string, remove func(), err error) {
	if address == "" {
		dir, err := os.MkdirTemp("", "carillon-debug-")
		if err != nil {
			return nil, "", nil, err
		}
		path, remove = filepath.Join(dir, "plugin"), func() { os.RemoveAll(dir) }
	} else {
		if path, err = wire.AttachPath(address); err != nil {
			return nil, "", nil, err
		}
		remove = func() {} // the listener does
		sweep(path)
	}
	if listener, err = listenPrivately(path); err != nil {
		remove()
		return nil, "", nil, fmt.Errorf("listen (a socket's path has 104 bytes at most): %w", err)
	}
	return listener, path, remove, nil
}

// sweep removes the socket that a process has left which a debugger ended. One that somebody listens at stays.
func sweep(path string) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return
	}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		conn.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		os.Remove(path) // if that fails, so does the listener, and says why
	}
}

// serveDebug serves p where listenDebug listens, says on standard error how to attach to it, and ends with an interrupt. There is no
// handshake, no lifeline and nobody who kills the process when it stands still.
func serveDebug(p Plugin, at string) error {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupted)
	listener, path, remove, err := listenDebug(at)
	if err != nil {
		return err
	}
	defer remove()
	s := &server{plugin: p}
	g := grpc.NewServer(wire.ServerOptions()...)
	s.register(g)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-interrupted
		g.Stop()
	}()
	fmt.Fprintf(os.Stderr, "%s waits at unix:%s\ncarillon dev --%[3]s-attach unix:%[2]s\ncarillon plugin test --attach unix:%[2]s --only CASE\n", p.Name, path, p.Kind)
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
