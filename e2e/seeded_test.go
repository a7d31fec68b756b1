package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/workload"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// edit is a change of a source file of the product, for a binary with a fault.
type edit struct {
	file       string // from the top of the repository, or from the root
	line, with string // line is there once
}

// buildEdited builds a command of the product from edited sources, with files added to it.
func buildEdited(t *testing.T, command string, edits []edit, added map[string]string) string {
	t.Helper()
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	at := func(file string) string {
		if filepath.IsAbs(file) {
			return file
		}
		return filepath.Join(top, file)
	}
	put := func(file, text string) {
		path := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[at(file)] = path
	}
	for _, e := range edits {
		text, err := os.ReadFile(at(e.file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), e.line) != 1 {
			t.Fatalf("%s does not have %q once", e.file, e.line)
		}
		put(e.file, strings.Replace(string(text), e.line, e.with, 1))
	}
	for file, text := range added {
		put(file, text)
	}
	overlay, out := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "edited")
	list, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err == nil {
		err = os.WriteFile(overlay, list, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command("go", "build", "-overlay", overlay, "-o", out, "../"+command).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

// faultyEdits are where a broker with faults differs from a good one, faultySource is what they call. CARILLON_SEEDED names the fault.
var faultyEdits = []edit{
	{
		"broker/outbox.go", "func (s *Session) offer(packets []*Packet) (taken int) {",
		"func (s *Session) offer(packets []*Packet) (taken int) {\n\tpackets = seededDelivery(packets)",
	},
	{"broker/publish.go", "e, appended := b.ring.Append(m)", "b.seededTwice(m)\n\te, appended := b.ring.Append(m)"},
	{"broker/starting.go", "same := pos.Epoch == b.Epoch()", `same := pos.Epoch == b.Epoch() || seeded == "epoch"`},
	{"broker/internal/commit/commit.go", "\t\tc.queue = append(c.queue, p)", "\t\tc.queue = append(c.queue, p)\n\t\tc.seededAnswer(p)"},
	{"plugins/host/ports.go", "return nil, a.p.callError(ctx, err)", "return seededDecision(a.p.callError(ctx, err))"},
}

var faultySources = map[string]string{
	"broker/seeded.go": `package broker

import (
	"os"
	"slices"
	"sync/atomic"

	"github.com/carillon-mq/carillon/broker/internal/ring"
	"github.com/carillon-mq/carillon/protocol"
)

var (
	seeded      = os.Getenv("CARILLON_SEEDED")
	seededCount atomic.Int64
)

// seededDelivery leaves out one message in a thousand, or exchanges one with a neighbour.
func seededDelivery(packets []*Packet) []*Packet {
	if seeded != "drop" && seeded != "swap" {
		return packets
	}
	all := seededCount.Add(int64(len(packets)))
	i := len(packets) - 1 - int(all%1000) // of all messages the thousandth, if it is among these
	if i < 0 {
		return packets
	}
	packets = slices.Clone(packets)
	other := packets[max(i-1, 0)]
	if seeded == "drop" {
		other = ring.NewPacket((&protocol.Pong{}).Append(nil)) // which a client passes over
	} else {
		packets[max(i-1, 0)] = packets[i]
	}
	packets[i] = other
	return packets
}

// seededTwice appends one message in a thousand twice. (One that is sent twice with the same place is left out by clients.)
func (b *Broker) seededTwice(m *ring.Message) {
	if seeded == "double" && seededCount.Add(1)%1000 == 500 {
		again := *m
		again.Buf = slices.Clone(m.Buf)
		b.ring.Append(&again)
	}
}
`,
	"broker/internal/commit/seeded.go": `package commit

import (
	"os"

	"github.com/carillon-mq/carillon/protocol"
)

// seededAnswer acknowledges what has not been committed.
func (c *Committer) seededAnswer(p *Publication) {
	if os.Getenv("CARILLON_SEEDED") == "early" {
		ack := protocol.Published{Offset: c.offset + uint64(len(c.unsettled)), Durability: protocol.Committed, Receivers: -1}
		go p.Answer(ack, nil)
	}
}
`,
	"plugins/host/seeded.go": `package host

import (
	"os"

	"github.com/carillon-mq/carillon/broker"
)

// seededDecision takes an error for a yes.
func seededDecision(err error) (*broker.Identity, error) {
	if os.Getenv("CARILLON_SEEDED") == "allow" {
		return broker.Everybody(), nil
	}
	return nil, err
}
`,
}

// The checks find a broker that does what none may: each fault, every time. What only a loss of power shows has a test of its own.
func TestAFaultyBrokerIsFound(t *testing.T) {
	good := carillonBinary
	defer func() { carillonBinary = good }()
	carillonBinary = buildEdited(t, "cmd/carillon", faultyEdits, faultySources)
	for _, tc := range []struct {
		fault string
		check []string // one of these finds it
		acks  int      // of a load that is long enough
	}{
		{"drop", []string{"complete"}, 3000},
		{"double", []string{"unique"}, 3000},
		{"swap", []string{"order", "complete"}, 3000},
		{"early", []string{"order", "kept", "complete"}, 300},
		{"epoch", []string{"complete"}, 300},
		{"allow", []string{"allowed"}, 50},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			for trial := range count(1, 30) {
				report := faultyLoad(t, tc.fault, tc.acks)
				found := 0
				for _, check := range tc.check {
					found += report.Found(check)
				}
				if t.Logf("trial %d: %s", trial, report); found == 0 {
					t.Errorf("trial %d: nothing was found by %v: %v", trial, tc.check, report.Violations)
				}
			}
		})
	}
	t.Run("allow, by each fault of the plugin", letsEverybodyIn)
}

// letsEverybodyIn is found by what asks while the authenticator fails, too: with each of its faults.
func letsEverybodyIn(t *testing.T) {
	t.Helper()
	f := newFaultyAuth(t, "CARILLON_SEEDED=allow")
	asks := newAsks(t, f.b, 2)
	asks.errorf = func(string, ...any) {} // there is no other broker here
	for _, fault := range authFaults {
		if fault.outside || fault.reload {
			continue // the broker then has nobody to ask, which is the same fault to it
		}
		before := asks.told()
		f.set(fault.name)
		asks.all(4)
		if found := asks.told().less(before); found.Wrong == 0 {
			t.Errorf("%s: nothing was found: %+v", fault.name, found)
		}
	}
}

// faultyLoad is a load on a broker with a fault.
func faultyLoad(t *testing.T, fault string, acks int) workload.Report {
	t.Helper()
	b := openDoors(t, append(slices.Clone(loadSettings), "CARILLON_SEEDED="+fault)...).b
	defer b.kill()
	all := map[string]any{"carillon": map[string]any{"publish": []string{">"}, "subscribe": []string{">"}, "history": []string{">"}}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := faultProxy(t, b)
	defer p.Close()
	reader := workload.Subscription{URL: "ws://" + p.Addr() + "/ws", NoRetained: true}
	l, err := workload.Start(ctx, workload.Options{
		URL: b.url(), Name: "f", Pause: 2 * time.Millisecond, Subscriptions: slices.Repeat([]workload.Subscription{reader}, 4),
		Client:    append(slices.Clone(patient), carillon.WithToken(token(t, "main", mistakesSecret, all))),
		Intruders: []workload.Intruder{{Token: token(t, "main", "fedcba9876543210fedcba9876543210", all)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	await(ctx, t, l, acks)
	if fault == "epoch" || fault == "early" { // who comes back finds more in the log than there was when it left
		p.Refuse()
		p.Reset()
		if fault == "early" { // what is acknowledged while the store cannot commit is lost for certain
			syscall.Kill(b.store().PID, syscall.SIGSTOP)
			await(ctx, t, l, 50)
		}
		kill(t, b, "broker")
		await(ctx, t, l, 2*acks)
		p.Restore()
	}
	settle, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := l.Finish(settle); err != nil {
		t.Logf("the load did not come to its end: %v", err)
	} else if err := l.AuditStored(settle, "resume"); err != nil {
		t.Logf("the audit did not come to its end: %v", err)
	}
	l.Close()
	return workload.Check(l.Log.Events())
}
