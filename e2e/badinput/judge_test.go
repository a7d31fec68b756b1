package badinput

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/internal/built"
)

// input is one case: something is sent, answered as it has to be, and nothing else has changed afterwards.
type input struct {
	id   string // of the corpus
	name string
	send func(t *testing.T, s *stand) // and checks the answer

	// counts are the refusals that are counted: of one code, exactly one, unless the case has more.
	counts   map[string]int
	accepted int  // messages that the log is given, or anyNumber
	lines    int  // of the log, at most; 0: 2
	many     bool // one or more of each code, or with a count of 0 perhaps none: it depends on how fast the machine is
}

const anyNumber = -1

func once(code string) map[string]int { return map[string]int{code: 1} }

// config is that of the broker that gets the bad input.
var config = built.Config(issuer, secret, "      - {kid: es, alg: ES256, file: KEYFILE}\n") + `
limits: {ring: 2MiB}
topics:
  - {match: canary, class: live}
  - {match: "kept.>", class: stored}
`

// The postconditions. What is of U2 is judged for all cases together, by canary.judge.
const (
	growth   = 4<<20 + 2*(72<<10) // of the memory in use
	resting  = 16                 // idle goroutines of connections: as many as had something to read at once
	spare    = 4                  // goroutines and descriptors that come and go of themselves
	logLines = 2
)

var panics = regexp.MustCompile(`panic|goroutine |runtime error`)

// judge sends one input after the other and checks after each that nobody else has noticed.
type judge struct {
	s      *stand
	first  figures
	kept   digest         // what is kept, as it was found last
	unseen int            // cases since then
	sum    map[string]int // refusals that were wanted
	off    int            // cases behind which something was not as before
}

func newJudge(t *testing.T, s *stand) *judge {
	t.Helper()
	for range 3 { // what the broker makes once is there before anything is compared
		w := connected(t, s, token(t, "first", everything))
		w.asks()
		w.nc.Close()
	}
	s.seed(t)
	kept := s.digest(t)
	s.canary.pass(t, 20)
	j := &judge{s: s, kept: kept, sum: map[string]int{}}
	if wrong := eventually(t, patience, func() string {
		if j.first = s.figures(t); j.first[sessions] != 1 {
			return "there are others than the canary"
		}
		return ""
	}); wrong != "" {
		t.Fatal(wrong)
	}
	return j
}

func (j *judge) all(t *testing.T, inputs []input) {
	t.Helper()
	for _, in := range inputs {
		if !t.Run(in.id+" "+in.name, func(t *testing.T) { j.one(t, &in) }) && !j.s.alive() {
			t.Fatal("the broker is gone")
		}
		if j.off > 3 { // each of those that follow would wait in vain for what has gone wrong already
			t.Fatal("too much has changed to go on")
		}
	}
}

func (j *judge) one(t *testing.T, in *input) {
	s := j.s
	if in.accepted != 0 && j.unseen > 0 {
		j.look(t, 0)
	}
	before, logged := s.figures(t), len(s.said(0))
	in.send(t, s)
	s.canary.pass(t, 2)
	var after figures
	if wrong := eventually(t, settleTime, func() string {
		after = s.figures(t)
		return j.wrong(in, before, after)
	}); wrong != "" {
		j.off++
		t.Error(wrong)
	} else if j.unseen++; in.accepted != 0 || j.unseen >= casesALook() {
		j.look(t, in.accepted)
	}
	for code, n := range after.refusals(before) {
		j.sum[code] += n
	}
	if !s.alive() {
		t.Error("U1: the broker is gone")
	}
	checkLog(t, s.said(logged), max(in.lines, logLines))
}

// look is U3: what is kept has changed with a message that was accepted, and else not.
func (j *judge) look(t *testing.T, accepted int) {
	t.Helper()
	kept := j.s.digest(t)
	if accepted == 0 && kept != j.kept {
		t.Errorf("U3: found %+v kept, wanted %+v as %d cases before", kept, j.kept, j.unseen)
	}
	j.unseen = 0
	j.kept = kept
	if wrong := eventually(t, patience, func() string { // who has looked does not count as one of the next case's
		if n := j.s.figures(t)[sessions]; n != j.first[sessions] {
			return fmt.Sprintf("there are %v sessions", n)
		}
		return ""
	}); wrong != "" {
		t.Error(wrong)
	}
}

// wrong is what of U3 to U6 does not hold.
func (j *judge) wrong(in *input, before, after figures) string {
	grown := after.refusals(before)
	same := maps.Equal(grown, in.counts) || len(grown) == 0 && len(in.counts) == 0
	if in.many {
		same = true
		for code := range grown {
			_, may := in.counts[code]
			same = same && may
		}
		for code, n := range in.counts {
			same = same && min(grown[code], 1) >= n
		}
	}
	switch {
	case !same:
		return fmt.Sprintf("U6: found refusals counted %v, wanted %v", grown, in.counts)
	case in.accepted != anyNumber && after.accepted()-before.accepted() != in.accepted:
		return fmt.Sprintf("U3: found %d messages accepted, wanted %d", after.accepted()-before.accepted(), in.accepted)
	case after["carillon_subscriptions"] != j.first["carillon_subscriptions"] || after[sessions] != j.first[sessions]:
		return fmt.Sprintf("U3: found %v subscriptions of %v sessions, wanted those of the canary", after["carillon_subscriptions"], after[sessions])
	case in.accepted == 0 && after[retained] != before[retained]:
		return fmt.Sprintf("U3: found %v retained topics, wanted %v", after[retained], before[retained])
	case after[goroutines] > j.first[goroutines]+resting+spare || after[descriptors] > j.first[descriptors]+spare:
		return fmt.Sprintf("U5: found %v goroutines and %v descriptors, in the beginning %v and %v",
			after[goroutines], after[descriptors], j.first[goroutines], j.first[descriptors])
	case inUse(after) > inUse(before)+growth:
		return fmt.Sprintf("U4: found %.0f KiB in use, %.0f before", inUse(after)/1024, inUse(before)/1024)
	}
	return ""
}

// inUse is the memory that is not only kept for later.
func inUse(f figures) float64 {
	return f["go_memstats_heap_inuse_bytes"] + f["go_memstats_stack_inuse_bytes"]
}

// checkLog is U1, U7 and U8.
func checkLog(t *testing.T, log string, most int) {
	t.Helper()
	if found := panics.FindString(log); found != "" {
		t.Errorf("U1: the log says %q:\n%s", found, log)
	}
	for _, s := range []string{secret, "eyJ", marker} {
		if strings.Contains(log, s) {
			t.Errorf("U7: the log says %q:\n%s", s, log)
		}
	}
	if n := strings.Count(log, "\n"); n > most {
		t.Errorf("U8: found %d lines logged, wanted at most %d:\n%s", n, most, log)
	}
	for line := range strings.SplitSeq(log, "\n") {
		if len(line) > 2048 || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' && c != '\t' }) {
			t.Errorf("U8: a line of the log has %d bytes, or control characters: %.300q", len(line), line)
		}
	}
}

// marker stands in payloads: what is logged of one is found by it.
const marker = "x5ecr3tpayl0ad"

// end checks what holds for all cases together: nothing was counted when nobody looked, and the memory has not crept up.
func (j *judge) end(t *testing.T) {
	t.Helper()
	if j.unseen > 0 {
		j.look(t, 0)
	}
	last := j.s.figures(t)
	if grown := last.refusals(j.first); !maps.Equal(grown, j.sum) {
		t.Errorf("U6: found refusals counted %v in all, wanted %v", grown, j.sum)
	}
	t.Logf("in the end %v goroutines, %v descriptors, %.1f MiB resident (in the beginning %v, %v, %.1f); %d kinds of refusals",
		last[goroutines], last[descriptors], last[resident]/(1<<20), j.first[goroutines], j.first[descriptors], j.first[resident]/(1<<20), len(j.sum))
	if most := j.first[resident] + 64<<20; last[resident] > most {
		t.Errorf("U4: found %.0f bytes resident, in the beginning %.0f", last[resident], j.first[resident])
	}
}
