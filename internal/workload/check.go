package workload

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
)

// Violation is one broken promise.
type Violation struct {
	Check string
	What  string
}

// Report is what the checks have found.
type Report struct {
	Sent, Acked, Lost, Shown, Gaps, Kept, Reads, Faults int
	Repeated                                            int // publishes answered as duplicates
	Counted                                             int // gaps that say how many messages are missing
	Denied                                              int // attempts of intruders that were refused
	Violations                                          []Violation
}

// Floor is the least load that makes a run valid.
type Floor struct {
	Acked, Shown, Kept, Reads, Denied, Faults int
}

// checks are all that run over a log, together.
var checks = []struct {
	name string
	run  func(*run, func(format string, args ...any))
}{
	{"known", known},
	{"durability", durability},
	{"order", order},
	{"unique", unique},
	{"complete", complete},
	{"whole", whole},
	{"kept", kept},
	{"conservation", conservation},
	{"registers", registers},
	{"allowed", allowed},
}

// Check holds the events of a run against every promise. It is a function of the events alone.
func Check(events []Event) Report {
	r := index(events)
	out := r.report()
	for _, c := range checks {
		c.run(r, func(format string, args ...any) {
			out.Violations = append(out.Violations, Violation{Check: c.name, What: fmt.Sprintf(format, args...)})
		})
	}
	return out
}

// Found is how many violations a check has found.
func (r Report) Found(check string) int {
	n := 0
	for _, v := range r.Violations {
		if v.Check == check {
			n++
		}
	}
	return n
}

// Err is nil if the run is valid and nothing was violated.
func (r Report) Err(f Floor) error {
	var errs []error
	for _, n := range []struct {
		what        string
		found, want int
	}{
		{"acknowledged publishes", r.Acked, f.Acked},
		{"messages shown", r.Shown, f.Shown},
		{"records read back", r.Kept, f.Kept},
		{"reads of registers", r.Reads, f.Reads},
		{"refusals", r.Denied, f.Denied},
		{"faults", r.Faults, f.Faults},
	} {
		if n.found < n.want {
			errs = append(errs, fmt.Errorf("the run is invalid: found %d %s, wanted at least %d", n.found, n.what, n.want))
		}
	}
	const most = 20
	for i, v := range r.Violations {
		if i == most {
			errs = append(errs, fmt.Errorf("… and %d more", len(r.Violations)-most))
			break
		}
		errs = append(errs, fmt.Errorf("%s: %s", v.Check, v.What))
	}
	return errors.Join(errs...)
}

// String is the report in one line.
func (r Report) String() string {
	return fmt.Sprintf("%d sent, %d acknowledged (%d of them as duplicates), %d without an outcome, %d shown, %d gaps told (%d with a count), %d read back, %d registers read, %d refused to intruders, %d faults, %d violations",
		r.Sent, r.Acked, r.Repeated, r.Lost, r.Shown, r.Gaps, r.Counted, r.Kept, r.Reads, r.Denied, r.Faults, len(r.Violations))
}

// run is a log, indexed.
type run struct {
	events  []Event
	sent    map[Message]*sent
	topics  map[string][]*sent // acknowledged, in the order of their places
	readers []*reader
	runs    map[protocol.RunID]int // broker runs, in the order in which they were first heard of
}

// sent is a message with its attempts: the events of the first, of the last, and of the acknowledgement (-1: none).
type sent struct {
	Message
	class              Class
	first, last, acked int
	at                 protocol.Position
}

// reader is one subscription with the events that it noted.
type reader struct {
	name       string
	filter     string
	noRetained bool
	stays      bool
	subscribed int
	steps      []int
}

func index(events []Event) *run {
	r := &run{events: events, sent: map[Message]*sent{}, topics: map[string][]*sent{}, runs: map[protocol.RunID]int{}}
	byName := map[string]*reader{}
	for i, e := range events {
		r.hear(e.Position)
		switch e.Kind {
		case Sent:
			m := r.sent[e.Message]
			if m == nil {
				m = &sent{Message: e.Message, class: e.Class, first: i, acked: -1}
				r.sent[e.Message] = m
			}
			m.last = i
		case Acked:
			if m := r.sent[e.Message]; m != nil {
				m.acked, m.at = i, e.Position
				r.topics[m.Topic] = append(r.topics[m.Topic], m)
			}
		case Subscribed:
			s := &reader{name: e.Who, filter: e.Filter, noRetained: e.NoRetained, stays: e.Stays, subscribed: i}
			byName[e.Who] = s
			r.readers = append(r.readers, s)
		case Shown, Told, Snapshot, Live:
			if s := byName[e.Who]; s != nil {
				s.steps = append(s.steps, i)
			}
		default: // for other checks
		}
	}
	for _, acked := range r.topics {
		slices.SortFunc(acked, r.compareSent)
	}
	return r
}

func (r *run) hear(p protocol.Position) {
	if _, ok := r.runs[p.Epoch]; !ok && !p.Epoch.IsZero() {
		r.runs[p.Epoch] = len(r.runs) + 1
	}
}

// compare orders places of the log over the runs of the broker.
func (r *run) compare(a, b protocol.Position) int {
	return cmp.Or(cmp.Compare(r.runs[a.Epoch], r.runs[b.Epoch]), cmp.Compare(a.Seq, b.Seq))
}

// compareSent orders acknowledged messages of one topic. Those that the store has are ordered by their offsets: a publish that is
// repeated after the run that had applied it has no other place.
func (r *run) compareSent(a, b *sent) int {
	if a.at.Offset > 0 && b.at.Offset > 0 {
		return cmp.Compare(a.at.Offset, b.at.Offset)
	}
	return r.compare(a.at, b.at)
}

// matching are the topics of the log that filter matches, sorted.
func (r *run) matching(filter string) []string {
	var out []string
	for topic := range r.topics {
		if protocol.Match(filter, topic) {
			out = append(out, topic)
		}
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

func (r *run) report() Report {
	var out Report
	for _, e := range r.events {
		switch e.Kind {
		case Sent:
			out.Sent++
		case Acked:
			out.Acked++
			if e.Duplicate {
				out.Repeated++
			}
		case Lost, Refused:
			out.Lost++
		case Shown:
			out.Shown++
		case Told:
			out.Gaps++
			if e.Count >= 0 {
				out.Counted++
			}
		case Kept:
			out.Kept++
		case Answered:
			out.Reads++
		case Denied:
			out.Denied++
		case Fault:
			out.Faults++
		default:
		}
	}
	return out
}
