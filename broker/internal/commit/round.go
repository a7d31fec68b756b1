package commit

import "time"

// round is what the committer knows of those who publish, wait for the store, and publish again. A commit costs as much as many records,
// so when many wait it is worth some time to wait for all of them: else they fall into two halves, and one half waits while the other is
// committed.
type round struct {
	flights []flight  // batches that the store has not committed as far as is known, in the order in which they were sent
	want    int       // records that were waiting when the last one was committed, its own included
	until   time.Time // for so long the next one waits for as many
}

// flight is a batch on its way. It has landed when the feed has brought all of it, or when it is answered: over a connection either comes
// first.
type flight struct {
	first, last uint64 // refs of its first record and of its last one
	records     int
	left        int // of these, what the feed has not brought
	waiting     int // records that waited when the feed brought the first one: whoever publishes again comes after that
	sent        time.Time
}

const (
	roundEnough = 128                  // records that make a batch worth sending while another one is on its way
	roundMany   = 16                   // so many are worth a wait
	roundMost   = 4 * time.Millisecond // so long a batch waits at most, and four times what the last one took
)

// begin notes that a batch is sent, with the refs from first to last.
func (r *round) begin(first, last uint64, records int) {
	r.flights = append(r.flights, flight{first: first, last: last, records: records, left: records, sent: time.Now()})
}

// committed notes that the feed has brought the record with that ref, while others wait. It reports whether a batch has landed by that.
func (r *round) committed(ref uint64, waiting int) bool {
	for i := range r.flights {
		f := &r.flights[i]
		if ref < f.first || ref > f.last { // of one that has been answered, or of a later one
			continue
		}
		if f.left == f.records {
			f.waiting = waiting
		}
		if f.left--; f.left > 0 {
			return false
		}
		r.land(i, f.waiting)
		return true
	}
	return false
}

// answered notes that the batch is answered whose last record has the given ref, while others wait. It reports whether it has landed by
// that.
func (r *round) answered(last uint64, waiting int) bool {
	for i, f := range r.flights {
		if f.last != last {
			continue
		}
		if f.left < f.records {
			waiting = f.waiting
		}
		r.land(i, waiting)
		return true
	}
	return false
}

// land ends a flight, and with it the round: those who published its records are about to publish again.
func (r *round) land(i, waiting int) {
	f := r.flights[i]
	r.flights = append(r.flights[:i], r.flights[i+1:]...)
	r.want, r.until = f.records+waiting, time.Time{}
	if now := time.Now(); r.want >= roundMany {
		r.until = now.Add(min(4*now.Sub(f.sent), roundMost))
	}
}

// waits reports whether the records that wait had better wait for more.
func (r *round) waits(waiting int) bool {
	switch {
	case waiting >= roundEnough:
		return false
	case len(r.flights) > 0: // what gathers while the store commits costs nothing
		return true
	}
	return waiting < r.want && time.Now().Before(r.until)
}
