package badinput

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// hungry is an auth plugin that is in order but for what it starts beside itself: loops that compute, and one program after the other that takes
// memory, up to 300 MB, until it gets no more.
const hungry = `#!/bin/sh
for i in 1 2 3; do (while :; do :; done) & done
(ulimit -v 300000; while :; do (a=xxxxxxxx; while :; do a=$a$a; done) 2>/dev/null; done) &
exec BINARY plugin-serve auth-jwt
`

// TestAHungryPluginTakesNothingFromTheCanary is U2 while a plugin takes memory again and again, and all computing time that it gets (G-7). That
// limits of its own end it is another test's.
func TestAHungryPluginTakesNothingFromTheCanary(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "hungry")
	text := strings.Replace(hungry, "BINARY", carillonBinary, 1)
	if err := os.WriteFile(program, []byte(text), 0o700); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	named := "  path: " + program + "\n  sha256: " + hex.EncodeToString(sum[:]) + "\n"
	s, control := openStand(t, strings.Replace(config, "  plugin: auth-jwt\n", named, 1)), openStand(t, config)
	t.Cleanup(func() { // a broker that is told to end takes along what its plugins have started; one that is killed cannot
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		<-s.exited
	})
	before := s.figures(t)
	from, other := len(s.canary.since(0)), len(control.canary.since(0))
	s.canary.pass(t, count(200, 1000))
	for range 3 { // who comes meanwhile is let in
		w := connected(t, s, token(t, "42", everything))
		w.asks()
		w.nc.Close()
	}
	if used := s.figures(t)[pluginCPU] - before[pluginCPU]; used < 0.2 {
		t.Errorf("the plugin has computed for %.2f s: it was not hungry", used)
	}
	s.canary.judgeSince(t, from, control.canary, other)
	checkLog(t, s.said(0), 60)
}

const pluginCPU = `carillon_plugin_cpu_seconds_total{kind="auth"}`
