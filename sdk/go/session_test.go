package carillon

import "testing"

// The writer of a connection that has just been lost may ask once more for something to write. What is queued by then belongs to
// the next connection.
func TestLostConnectionTakesNothingFromTheQueue(t *testing.T) {
	c, cn := unconnected()
	c.attach(cn, connected(at(1, 0)))
	if _, err := c.PublishAsync(t.Context(), "a", 1); err != nil {
		t.Fatal(err)
	}
	c.Subscribe("a")
	_ = c.detach(cn, nil)
	if b := c.fill(cn, nil); len(b) > 0 || len(c.queue) != 1 {
		t.Errorf("%d bytes were taken, %d publishes are left, want none and 1", len(b), len(c.queue))
	}
}

// What was refused for a while and comes due while its connection ends is asked for on the next one.
func TestWhatComesDueOnAConnectionThatHasEndedIsAskedOnTheNext(t *testing.T) {
	c, one := unconnected()
	s := c.Subscribe("a")
	c.attach(one, connected(at(1, 0)))
	if err := c.detach(one, errSilent); err == nil {
		t.Fatal("found no cause")
	}
	c.askAgain(one) // its timer and its end have raced
	_, two := unconnected()
	c.attach(two, connected(at(1, 0)))
	if len(two.requests) != 1 || two.requests[0] != request(s) {
		t.Errorf("found %d requests on the next connection, wanted the subscription", len(two.requests))
	}
}
