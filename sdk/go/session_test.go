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
