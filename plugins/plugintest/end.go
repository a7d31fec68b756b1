package plugintest

import (
	"time"
)

// endCases are about how a plugin ends.
var endCases = []Case{
	{
		Name: "it ends when its lifeline ends", Own: true, run: testLifeline,
		Does: "closes its standard input: after the handshake, and when it is configured",
		Says: "When it ends, the broker is gone: end at once",
	},
	{
		Name: "it leaves SIGTERM to the broker", Own: true, run: testTerminate,
		Does: "sends SIGTERM, and asks for the health for a while",
		Says: "`SIGTERM` is not for a plugin: a service manager may send it to every process at once, while the broker still needs its plugins to finish.",
	},
	{
		Name: "asked to end it stops, closes and exits with 0", Own: true, run: testShutdown,
		Does: "calls Shutdown (the lifeline's end, if it does not serve that), and looks for what is left of its process group",
		Says: "The plugin stops serving, closes what it holds and exits with 0.",
	},
	{
		Name: "killed at any instant it starts again", Own: true, run: testStartAfterKill,
		Does: "kills it after the handshake, after Configure and at instants between, and starts it with the same folder",
		Says: "A plugin must survive to be killed at any instant",
	},
}

// lifelineTime is what a process has to be gone when its broker is.
const lifelineTime = 2 * time.Second

func testLifeline(t *T) {
	in := t.open()
	in.cut()
	if !in.wait(lifelineTime) {
		t.Errorf("not configured: expected that it ends within %v of its standard input, it is still there", lifelineTime)
	}
	in = t.start(t.dataDir())
	in.cut()
	if !in.wait(lifelineTime) {
		t.Errorf("configured: expected that it ends within %v of its standard input, it is still there", lifelineTime)
	}
}

func testTerminate(t *T) {
	if !unix {
		t.Skipf("there is no SIGTERM here")
	}
	in := t.start(t.dataDir())
	if err := terminate(in.cmd.Process); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if in.wait(50 * time.Millisecond) {
			t.Fatalf("expected that it goes on, got: %s", in.how())
		}
		if err := in.serving(t.ctx); err != nil {
			t.Fatalf("health after SIGTERM: %v", err)
		}
	}
}

func testShutdown(t *T) {
	in := t.start(t.dataDir())
	t.stop(in)
	if unix && groupLeft(in.cmd.Process) {
		t.Errorf("expected that nothing of its process group is left, there is")
	}
}

func testStartAfterKill(t *T) {
	dir := t.dataDir()
	for _, after := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		in := t.open()
		done := make(chan struct{})
		go func() { // is waited for below
			defer close(done)
			_ = in.configure(t.ctx, configIn(t.about.config, dir)) // the kill may come first
		}()
		t.wait(after)
		in.kill()
		<-done
	}
	t.stop(t.start(dir))
}
