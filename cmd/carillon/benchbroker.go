package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench"
	"github.com/carillon-mq/carillon/internal/freeport"
)

// ownBrokerWait is how long a broker started for a bench may take to be ready.
const ownBrokerWait = 15 * time.Second

// startOwnBroker runs this executable as `serve` on free ports of the loopback address, with its data in a temporary folder and the given
// settings in its environment. It accepts connections as fast as they come: a bench opens thousands a second.
func startOwnBroker(ctx context.Context, s streams, settings ...string) (server bench.Server, stop func(), err error) {
	exe, err := os.Executable()
	if err != nil {
		return server, nil, err
	}
	dir, err := os.MkdirTemp("", "carillon-bench-")
	if err != nil {
		return server, nil, err
	}
	listen, err := freeport.Address()
	if err != nil {
		return server, nil, err
	}
	admin, err := freeport.Address()
	if err != nil {
		return server, nil, err
	}
	cmd := exec.CommandContext(ctx, exe, "serve", "--listen", listen, "--admin-listen", admin, "--data-dir", dir, "--log-level", "warn")
	cmd.Env = append(append(os.Environ(), "CARILLON_TOPICS="+bench.TopicRules, "CARILLON_LIMITS_ACCEPT_RATE=unlimited"), settings...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return server, nil, err
	}
	if err := cmd.Start(); err != nil {
		return server, nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself
		late := time.AfterFunc(ownBrokerWait, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // its end is all that matters
		late.Stop()
		os.RemoveAll(dir)
	}
	if err := awaitReady(bufio.NewScanner(stderr), s); err != nil {
		stop()
		return server, nil, err
	}
	return bench.Server{URL: "ws://" + listen + "/ws", PID: cmd.Process.Pid}, stop, nil
}

// awaitReady reads until the broker says that it is ready, and passes on what it warns of, then and later.
func awaitReady(lines *bufio.Scanner, s streams) error {
	ready := make(chan struct{})
	ended := make(chan struct{})
	go func() { // ends with the broker, which stop waits for
		defer close(ended)
		told := false
		for lines.Scan() {
			switch text := lines.Text(); {
			case !told && strings.HasPrefix(text, "carillon: ready"):
				told = true
				close(ready)
			case strings.HasPrefix(text, "carillon: draining"):
			default:
				fmt.Fprintln(s.err, printable(text))
			}
		}
	}()
	select {
	case <-ready:
		return nil
	case <-ended:
		return fmt.Errorf("the broker of the bench did not start")
	case <-time.After(ownBrokerWait):
		return fmt.Errorf("the broker of the bench was not ready in %s", ownBrokerWait)
	}
}
