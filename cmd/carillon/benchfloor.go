package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench/floor"
)

// benchFloorCmd is the process that --baseline starts. It ends with its standard input.
type benchFloorCmd struct{}

// Run implements the verb.
func (benchFloorCmd) Run(ctx context.Context, s streams) error {
	failed := make(chan error, 1)
	go func() { failed <- floor.Serve(func(addr string) { fmt.Fprintln(s.out, floorReady+addr) }) }()
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, s.in) // however it ends
		close(ended)
	}()
	select {
	case err := <-failed:
		return err
	case <-ended:
	case <-ctx.Done():
	}
	return nil
}

const floorReady = "floor: ready "

// startFloor runs this executable as a floor.
func startFloor(ctx context.Context, s streams) (server bench.Server, stop func(), err error) {
	exe, err := os.Executable()
	if err != nil {
		return server, nil, err
	}
	cmd := exec.CommandContext(ctx, exe, "bench", "floor")
	cmd.Stderr = s.err
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return server, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return server, nil, err
	}
	if err := cmd.Start(); err != nil {
		return server, nil, err
	}
	stop = func() {
		stdin.Close()
		_ = cmd.Wait() // its end is all that matters
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), floorReady)
	if err != nil || !ok {
		stop()
		return server, nil, fmt.Errorf("the floor did not start: found %q", line)
	}
	return bench.Server{URL: "ws://" + addr + "/", PID: cmd.Process.Pid}, stop, nil
}
