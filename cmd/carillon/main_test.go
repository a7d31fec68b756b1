package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/carillon-mq/carillon/internal/require"
)

// TestMain runs the test binary as what it is started as: the broker and its client (by testscript, under the name carillon), one
// of its bundled plugins, or the tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == pluginServe {
		os.Exit(run(os.Args[1:]))
	}
	testscript.Main(m, map[string]func(){"carillon": main})
}

// servers are the scripts for which a broker does what several of its goroutines have part in.
var servers = []string{"attach", "auth", "drain", "history", "presence", "pubsub", "reload", "req", "restart", "resume", "stop"}

// With the race detector each of the hundreds of commands takes long to start, and most have nothing to find: then only servers are run. The
// gate runs all of them without it.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if require.RaceDetector {
		scripts = nil
		for _, name := range servers {
			scripts = append(scripts, filepath.Join("testdata", "script", name+".txtar"))
		}
	}
	testscript.Run(t, testscript.Params{
		Files:               scripts,
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
