package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain runs the test binary as what it is started as: the broker and its client (by testscript, under the name carillon), one
// of its bundled plugins, or the tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == pluginServe {
		os.Exit(run(os.Args[1:]))
	}
	testscript.Main(m, map[string]func(){"carillon": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: false,
		Setup:               setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"broker": brokerCommand,
			"signal": signalCommand,
			"ended":  endedCommand,
			"await":  awaitCommand,
			"http":   httpCommand,
			"holds":  holdsCommand,
			"stall":  stallCommand,

			"certificate": certificateCommand(t),
		},
	})
}
