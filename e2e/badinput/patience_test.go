package badinput

import (
	"maps"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/rawws"
)

// patientInputs take their time. They run beside each other.
func patientInputs(t testing.TB) []input {
	t.Helper()
	wide := bearer(token(t, "42", everything))
	return []input{
		{id: "P3", name: "silence behind the upgrade", counts: once("connect_timeout"), send: func(t *testing.T, s *stand) {
			w, began := upgraded(t, s), time.Now()
			h := w.end()
			if took := time.Since(began); h.code != "connect_timeout" || took < 9*time.Second || took > 25*time.Second {
				t.Errorf("found %q after %s, wanted it at 10 s", h.code, took)
			}
		}},
		{id: "F23", name: "a bad packet and then a huge header, byte by byte", counts: once("bad_packet"), send: func(t *testing.T, s *stand) {
			w, began := connected(t, s, token(t, "tester", everything)), time.Now()
			w.raw(rawws.Frame(rawws.Binary, []byte{0xc1}))
			w.leaves = true
			stop := dribble(w, unhex("82 ff 7fffffffffffffff 00000000"), 500*time.Millisecond)
			h := w.end()
			close(stop)
			if took := time.Since(began); h.code != "bad_packet" || took > 20*time.Second {
				t.Errorf("found %q after %s", h.code, took)
			}
		}},
		{id: "F26", name: "a message in fragments of a byte", counts: once("bad_frame"), send: func(t *testing.T, s *stand) {
			w, began := connected(t, s, token(t, "tester", everything)), time.Now()
			w.leaves = true
			w.raw(rawws.Frame(0x02, []byte{0x92}))
			stop := dribble(w, rawws.Frame(0x00, []byte{0xc0}), 150*time.Millisecond)
			h := w.end()
			close(stop)
			if took := time.Since(began); h.code != "bad_frame" || took < 28*time.Second {
				t.Errorf("found %q after %s, wanted it at 30 s", h.code, took)
			}
		}},
		{id: "A3", name: "a body of a byte a second", counts: once("timeout"), send: func(t *testing.T, s *stand) {
			w, began := dial(t, s.listen), time.Now()
			w.text("POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\n" + wide + "\r\nContent-Length: 1000\r\n\r\n")
			stop := dribble(w, []byte("x"), time.Second)
			a := w.exchange("")
			close(stop)
			if took := time.Since(began); a == nil || a.StatusCode != 408 || a.code != "timeout" || took > 25*time.Second {
				t.Errorf("found %+v after %s", a, took)
			}
			w.nc.Close()
		}},
		{id: "A3", name: "headers of a byte a second", send: func(t *testing.T, s *stand) { // nobody counts what is no request
			w, began := dial(t, s.listen), time.Now()
			w.text("GET /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
			stop := dribble(w, []byte("x"), time.Second)
			a := w.exchange("")
			close(stop)
			if took := time.Since(began); a != nil && a.StatusCode != 408 || took > 20*time.Second {
				t.Errorf("found %+v after %s", a, took)
			}
			w.nc.Close()
		}},
	}
}

// dribble sends piece after piece until stop is closed.
func dribble(w *wire, piece []byte, every time.Duration) (stop chan struct{}) {
	stop = make(chan struct{})
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.raw(piece)
			case <-stop:
				return
			}
		}
	}()
	return stop
}

// TestBadInputThatTakesItsTime has clients use up what the broker has the patience for, one of each kind at a time.
func TestBadInputThatTakesItsTime(t *testing.T) {
	t.Parallel()
	s, control := openStand(t, config), openStand(t, config)
	j := newJudge(t, s)
	inputs := patientInputs(t)
	t.Run("all", func(t *testing.T) {
		for _, in := range inputs {
			t.Run(in.id+" "+in.name, func(t *testing.T) {
				t.Parallel()
				in.send(t, s)
			})
		}
	})
	together := input{counts: map[string]int{}}
	for _, in := range inputs {
		for code, n := range in.counts {
			together.counts[code] += n
		}
	}
	if wrong := eventually(t, settleTime, func() string { return j.wrong(&together, j.first, s.figures(t)) }); wrong != "" {
		t.Error(wrong)
	}
	j.sum = maps.Clone(together.counts)
	j.end(t)
	checkLog(t, s.said(0), 10*len(inputs))
	s.canary.judge(t, control.canary)
}
