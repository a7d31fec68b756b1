//go:build unix

package host

import (
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

func TestAFloodOfOutputIsBoundedAndDisturbsNoCall(t *testing.T) {
	t.Parallel()
	log, logger := newLog()
	o := patient()
	o.Logger = logger
	a := startAuth(t, newHost(t, o), config(bundled("a", "auth"), `{"flood": true}`))
	began := time.Now()
	for range 200 {
		if _, err := a.Authenticate(t.Context(), broker.Credentials{}); err != nil {
			t.Fatal(err)
		}
	}
	log.line(t, "plugin prints too much")
	lines := log.all()
	if most := linesBurst + linesPerSecond*int(time.Since(began)/time.Second+2) + 10; len(lines) > 2*most {
		t.Errorf("%d lines in %v", len(lines), time.Since(began))
	}
	for _, line := range lines {
		if strings.Contains(line, "\x1b") || len(line) > 4*maxText {
			t.Fatalf("line of %d bytes: %.200q", len(line), line)
		}
	}
	if a.Status().Restarts != 0 {
		t.Error("the plugin was started again")
	}
}

func TestLinesOfAPluginKeepTheirLevelAndFieldsAndAreEscaped(t *testing.T) {
	t.Parallel()
	log, logger := newLog()
	o := patient()
	o.Logger = logger
	a := startAuth(t, newHost(t, o), bundled("a", "auth"))
	for _, token := range []string{"bad lines", "print"} {
		if _, err := a.Authenticate(t.Context(), broker.Credentials{Token: token}); err != nil {
			t.Fatal(err)
		}
	}
	for text, parts := range map[string][]string{
		"clear":             {"level=WARN", `\x1b[2Jclear`, "plugin=a", "said.user=eve", `said.n="{\"a\":[1]}"`},
		"said.@message=5":   {"level=INFO"},
		"[ERROR] text":      {"level=INFO"},
		"printed by a libr": {"level=INFO", "plugin=a"},
		"zzzzzz":            {"…"},
	} {
		line := log.line(t, text)
		for _, part := range parts {
			if !strings.Contains(line, part) {
				t.Errorf("line %q has no %q", line, part)
			}
		}
	}
}

func TestOutputIsCutIntoLinesHoweverItArrives(t *testing.T) {
	long := strings.Repeat("l", maxLine+100)
	for name, writes := range map[string][]string{
		"at once":   {"one\ntwo\r\n\n" + long + "\nthree\nfour"},
		"in pieces": {"o", "ne", "\n", "two\r", "\n\n", long[:5000], long[5000:], "\n", "three\nfo", "ur"},
	} {
		log, logger := newLog()
		s := newOutput(logger, "a").stream()
		for _, w := range writes {
			if n, err := s.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("%s: wrote %d of %d, %v", name, n, len(w), err)
			}
		}
		s.flush()
		var got []string
		for _, line := range log.all() {
			_, text, _ := strings.Cut(line, "msg=")
			text, _, _ = strings.Cut(text, " plugin=a")
			got = append(got, text[:min(len(text), 10)])
		}
		if want := "one two llllllllll three four"; strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, wanted %s", name, got, want)
		}
	}
}

func TestTheLastWordsOfAPluginAreItsPanic(t *testing.T) {
	_, logger := newLog()
	o := newOutput(logger, "a")
	for line := range strings.SplitSeq(`starting|{"level":"ERROR","msg":"disk"}|{"level":"INFO","msg":"going on"}`, "|") {
		o.print([]byte(line))
	}
	if got := o.lastWords(); got != "disk" {
		t.Errorf("got %q, wanted the error", got)
	}
	o.print([]byte(`{"level":"ERROR","msg":"ends","err":"write a: no space left on device","plugin":"a"}`))
	if got := o.lastWords(); got != "ends: write a: no space left on device" {
		t.Errorf("got %q, wanted the error and its cause", got)
	}
	for line := range strings.SplitSeq("panic: boom|goroutine 1 [running]:|main.main()", "|") {
		o.print([]byte(line))
	}
	if got := o.lastWords(); got != "panic: boom" {
		t.Errorf("got %q, wanted the panic", got)
	}
	o.begin()
	if got := o.lastWords(); got != "" {
		t.Errorf("the next process begins with %q", got)
	}
}

func TestTheLastWordsOfAPluginAreItsUncaughtError(t *testing.T) {
	_, logger := newLog()
	for want, printed := range map[string]string{
		"SIGABRT: abort": "SIGABRT: abort\nPC=0x48e2e1 m=0 sigcode=0\n\ngoroutine 0 gp=0x1 m=0 mp=0x1 [idle]:\nruntime.futex()\n\t/usr/local/go/src/runtime/sys_linux_amd64.s:557\n",
		"no license":     "starting\nno license\n\n\r\n",
		"ModuleNotFoundError: No module named 'grpcc'":                       "Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>\n    import grpcc\nModuleNotFoundError: No module named 'grpcc'\n",
		"Error: Cannot find module 'x'":                                      "node:internal/modules/cjs/loader:1080\n  throw err;\n\nError: Cannot find module 'x'\nRequire stack:\n    at Module._load\n  code: 'MODULE_NOT_FOUND',\n}\n\nNode.js v20.19.2\n",
		"a.rb:1:in `require': cannot load such file -- nonsense (LoadError)": "a.rb:1:in `require': cannot load such file -- nonsense (LoadError)\n\tfrom a.rb:1:in `<main>'\n",
		"ValueError: second":                                                 "KeyError: first\nDuring handling of the above exception, another exception occurred:\nValueError: second\n",
		"the disk is full":                                                   "TimeoutError: handled\n" + strings.Repeat("going on\n", heldError) + "the disk is full\n",
		"the store is gone: EIO":                                             "TimeoutError: handled\n" + `{"level":"ERROR","msg":"the store is gone","err":"EIO"}` + "\n",
	} {
		o := newOutput(logger, "a")
		copyLines(o, strings.NewReader(printed))
		if got := o.lastWords(); got != want {
			t.Errorf("got %q, wanted %q", got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain ünï 漢":              "plain ünï 漢",
		"\x1b[31m\r\n\t\x00\x7f":   `\x1b[31m\r\n\t\x00\x7f`,
		"\xff\xc3(":                `\xff\xc3(`,
		"a\u202eb\u200d\ufeff":     `a\u202eb\u200d\ufeff`,
		strings.Repeat("x", 2*64):  strings.Repeat("x", 64) + "…",
		"\U000e0041 tag\u2028line": `\U000e0041 tag\u2028line`,
	} {
		if got := printable(in, 64); got != want {
			t.Errorf("%q became %q, wanted %q", in, got, want)
		}
	}
}
