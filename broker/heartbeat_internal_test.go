package broker

import (
	"testing"
	"time"
)

// G18: the end of a session is a moment of the monotonic clock, however far away, so that setting the time of day moves it for nobody.
func TestTheEndOfASessionIsNoTimeOfDay(t *testing.T) {
	now := time.Now()
	for _, expires := range []time.Time{now.Add(time.Hour), now.Round(0).Add(-time.Hour), time.Unix(now.Unix()+60, 0), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)} {
		end := endOf(&Identity{Expires: expires}, 30*time.Second, now)
		if end == end.Round(0) { // which takes the reading of the monotonic clock away
			t.Errorf("%s: the end %s is a time of day", expires, end)
		}
		if left := end.Sub(now); left != min(expires.Sub(now), unlimitedTime)+30*time.Second {
			t.Errorf("%s: found %s left", expires, left)
		}
	}
	if end := endOf(&Identity{}, 30*time.Second, now); !end.IsZero() {
		t.Errorf("found an end at %s of what does not expire", end)
	}
}
