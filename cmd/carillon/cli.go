package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"

	"github.com/alecthomas/kong"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// The exit codes. They are a promise to scripts.
const (
	exitDone = iota
	exitFailed
	exitUsage
	exitRefused
	exitUnreachable
)

// cli is the command line.
type cli struct {
	Dev         devCmd         `cmd:"" help:"Run a broker to try things with, on 127.0.0.1:8080, without tokens; data in a temporary folder."`
	Serve       serveCmd       `cmd:"" help:"Run the broker."`
	Pub         pubCmd         `cmd:"" help:"Publish a message, a file, or standard input line by line."`
	Sub         subCmd         `cmd:"" help:"Subscribe and print messages."`
	Req         reqCmd         `cmd:"" help:"Send a request and print the reply."`
	Presence    presenceCmd    `cmd:"" help:"Print who is there in a topic."`
	History     historyCmd     `cmd:"" help:"Print the messages that the broker's store keeps of a topic."`
	Bench       benchCmd       `cmd:"" help:"Measure a broker."`
	Conformance conformanceCmd `cmd:"" help:"Show that a server, or an SDK, keeps the rules of the protocol."`
	Token       tokenCmd       `cmd:"" help:"Make and inspect tokens."`
	Plugin      pluginCmd      `cmd:"" help:"See the plugins of a running broker; write and test your own."`
	Store       storeCmd       `cmd:"" help:"Look at, copy, compact and check the bundled store's file."`
	Config      configCmd      `cmd:"" help:"Check, show and start configurations."`
	Health      healthCmd      `cmd:"" help:"Ask a running broker whether it is ready."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

// streams are where a verb reads and writes: data on out, everything else on err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// exitError ends the process with a code. A nil err has been told already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage is a mistake on the command line that kong cannot see.
func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// within checks a number that a flag gives: at least 1, at most most. Nil is none.
func within(flag string, n *int, most int) error {
	switch {
	case n == nil || *n >= 1 && *n <= most:
		return nil
	case most == math.MaxInt:
		return fmt.Errorf("%s is %d, want a number from 1", flag, *n)
	}
	return fmt.Errorf("%s is %d, want a number from 1 to %d", flag, *n, most)
}

// notEmpty checks a text that a flag gives: an unset variable of a script's is not the same as leaving the flag out.
func notEmpty(flag, what string, text *string) error {
	if text != nil && *text == "" {
		return fmt.Errorf("%s is empty, want %s; leave it out for none", flag, what)
	}
	return nil
}

// given is what a flag gives, or the zero value.
func given[T any](value *T) T {
	var zero T
	if value == nil {
		return zero
	}
	return *value
}

// run runs the verb that args name and returns the exit code.
func run(args []string) int {
	if code, ok := servePlugin(args); ok {
		return code
	}
	s := streams{os.Stdin, os.Stdout, os.Stderr}
	var c cli
	code := -1
	parser, err := kong.New(&c,
		kong.Name("carillon"),
		kong.Description("A pub/sub broker for the web. Nothing is lost silently.\n\n"+
			"Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused, 4 not reachable."),
		kong.UsageOnError(),
		kong.Writers(s.out, s.err),
		kong.Exit(func(n int) { code = n }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Bind(s),
		kong.Vars{"maxLast": strconv.Itoa(protocol.MaxLast), "maxRate": strconv.Itoa(protocol.MaxRate)},
	)
	if err != nil {
		fmt.Fprintln(s.err, "carillon:", err)
		return exitFailed
	}
	verb, err := parser.Parse(spelled(args))
	if code >= 0 { // --help was asked for and has been printed
		return code
	}
	if err != nil {
		fmt.Fprintf(s.err, "carillon: %v\nTry carillon --help.\n", err)
		return exitUsage
	}
	ctx, stop := signalContext()
	defer stop()
	verb.BindTo(ctx, (*context.Context)(nil))
	return exitCode(s.err, verb.Run())
}

// spelled is args with other usual ways to ask for help or the version written as ours.
func spelled(args []string) []string {
	switch {
	case len(args) == 0:
		return []string{"--help"}
	case args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case args[0] == "--version":
		return append([]string{"version"}, args[1:]...)
	}
	return args
}

// exitCode tells err, if it has not been told, and returns the code for it.
func exitCode(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	code := exitFailed
	var exit *exitError
	var refusal *carillon.Error
	switch {
	case errors.As(err, &exit):
		if code = exit.code; exit.err == nil {
			return code
		}
	case errors.As(err, &refusal):
		code = exitRefused
	}
	fmt.Fprintln(w, "carillon:", printable(err.Error()))
	if hint := hintOf(err); hint != "" {
		fmt.Fprintln(w, "   ", printable(hint))
	}
	return code
}

// hintOf is what to do about a refusal, in the terms of the command line where the protocol's would not help; "" of any other error.
func hintOf(err error) string {
	if problem, ok := errors.AsType[*adminError](err); ok {
		return problem.hint
	}
	refusal, ok := errors.AsType[*carillon.Error](err)
	switch {
	case !ok:
		return ""
	case refusal.Code == protocol.CodeTokenMissing:
		return "Give a token with --token or in CARILLON_TOKEN."
	}
	return refusal.Packet(0).Hint
}
