package main

import (
	"testing"
	"time"
)

func TestPacerStaysBelowTheLimit(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPacer(50)
	var sent []time.Time
	for range 500 {
		now = now.Add(p.wait(now))
		sent = append(sent, now)
	}
	for i := range sent {
		for j := i; j < len(sent); j++ {
			span := sent[j].Sub(sent[i]).Seconds()
			if n := float64(j - i + 1); n > 50+50*span {
				t.Fatalf("%v publishes in %v s", n, span)
			}
		}
	}
	if d := sent[len(sent)-1].Sub(sent[0]); d > 10*time.Second {
		t.Errorf("500 publishes at 50 a second took %v", d)
	}
	free := newPacer(0)
	if d := free.wait(now); d != 0 {
		t.Errorf("held back %v without a limit", d)
	}
}
