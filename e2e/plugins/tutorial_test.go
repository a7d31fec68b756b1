package plugins

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/freeport"
)

// patience bounds the wait for a broker that starts.
const patience = 60 * time.Second

// The commands are those of the pages: ```sh is run and must succeed, ```sh fails must fail, ```sh server goes on while the rest of the page
// is followed; every line of ```text must have been printed by the commands before it; ```diff is done to the files.
func TestTheTutorialsAreTrue(t *testing.T) {
	for _, lang := range []string{"go", "node", "python"} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			needs(t, lang)
			listen, admin := freeAddr(t), freeAddr(t)
			r := &reader{page: filepath.Join(root(t), "docs", "plugins", lang+".md"), shell: newShell(t,
				"CARILLON_LISTEN="+listen, "CARILLON_SERVER=ws://"+listen, "CARILLON_ADMIN_LISTEN="+admin, "CARILLON_ADMIN=http://"+admin)}
			for _, b := range readPage(t, r.page) {
				r.follow(t, b)
			}
			if r.ran == 0 {
				t.Error("nothing was run")
			}
		})
	}
}

// reader follows a page.
type reader struct {
	*shell
	page    string
	ran     int    // blocks
	printed string // by the last one
}

func (r *reader) follow(t *testing.T, b block) {
	t.Helper()
	at := fmt.Sprintf("%s:%d", r.page, b.line)
	var err error
	switch b.lang + " " + b.how {
	case "sh ":
		r.ran++
		if r.printed, err = r.run(t, b.text); err != nil {
			t.Fatalf("%s: %v\n%s", at, err, r.printed)
		}
	case "sh fails":
		r.ran++
		if r.printed, err = r.run(t, b.text); err == nil {
			t.Fatalf("%s succeeded:\n%s", at, r.printed)
		}
	case "sh server":
		r.ran++
		r.serve(t, at, b.text)
	case "text ":
		if line := missing(b.text, r.printed); line != "" {
			t.Errorf("%s: %q was not printed, but\n%s", at, line, r.printed)
		}
	case "diff ":
		patch := r.command(t, "git apply -p1")
		patch.Stdin = strings.NewReader(b.text)
		if out, err := patch.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", at, err, out)
		}
	default:
		t.Errorf("%s: nothing is known to do with %q", at, b.lang+" "+b.how)
	}
}

// serve runs a block until the end of the test, and returns when the broker in it is ready.
func (r *reader) serve(t *testing.T, at, commands string) {
	t.Helper()
	var log bytes.Buffer
	server := r.command(t, "exec "+strings.TrimSpace(commands))
	server.Stdout, server.Stderr = &log, &log
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	server.WaitDelay = 20 * time.Second
	if err := server.Start(); err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Wait() // the test's end ends it
	}()
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM) // ended already is as good
		<-ended
		if t.Failed() {
			t.Logf("%s printed:\n%s", at, log.String())
		}
	})
	deadline := time.After(patience)
	for {
		if r.command(t, "carillon health").Run() == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended", at)
		case <-deadline:
			t.Fatalf("%s: not ready after %v", at, patience)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
