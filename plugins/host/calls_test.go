//go:build unix

package host

import (
	"testing"

	"github.com/carillon-mq/carillon/broker"
)

func TestCallsAreCountedByTheirNames(t *testing.T) {
	t.Parallel()
	h := newHost(t, patient())
	a := startAuth(t, h, bundled("a", "auth"))
	s := startStore(t, h, bundled("s", "store"))
	for range 3 {
		asked(t, a, "x")
	}
	for _, token := range []string{"expired", "malformed", "exit"} { // an answer, no answer to go by, no answer at all
		_, _ = a.Authenticate(t.Context(), broker.Credentials{Token: token})
	}
	if r := receive(t, appendOne(s, "a")); r.err != nil {
		t.Fatal(r.err)
	}
	got := map[string]CallFigures{}
	for _, f := range h.Figures() {
		for _, c := range f.Calls {
			got[f.Status.Kind+" "+c.Call] = c
		}
	}
	for call, want := range map[string]struct{ count, errors uint64 }{
		"auth authenticate": {6, 1}, "store append": {1, 0}, "store describe": {1, 0}, "store configure": {1, 0},
	} {
		c := got[call]
		if c.Seconds.Count != want.count || c.Errors != want.errors || c.Seconds.Sum <= 0 || c.Seconds.Buckets[10] != want.count {
			t.Errorf("%s: %+v, wanted %+v", call, c, want)
		}
	}
	if got["auth health"].Seconds.Count == 0 {
		t.Errorf("no health checks in %v", got)
	}
}

func TestCallNames(t *testing.T) {
	for method, want := range map[string]string{
		"/carillon.plugin.store.v1.StoreService/ReadHistory": "read_history",
		"/carillon.plugin.auth.v1.AuthService/Authenticate":  "authenticate",
	} {
		if got := callName(method); got != want {
			t.Errorf("%s is %q, wanted %q", method, got, want)
		}
	}
}
