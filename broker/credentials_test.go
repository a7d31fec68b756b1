package broker_test

import (
	"net/http"
	"testing"

	"github.com/carillon-mq/carillon/broker"
)

// CON-5: an answer is given again for the very credentials that it was made from, and for no others.
func TestCredentialsThatDifferInAnythingHaveOtherFingerprints(t *testing.T) {
	secret := []byte("thirty-two bytes of a test's own")
	seen := map[broker.Fingerprint]int{}
	for i, c := range []broker.Credentials{
		{},
		{Token: "a"},
		{Remote: "a"},
		{Transport: "a"},
		{Token: "a", Remote: "b"},
		{Token: "b", Remote: "a"},
		{Token: "ab"},
		{Remote: "ab"},
		{Header: http.Header{"Cookie": {"a"}}},
		{Header: http.Header{"Cookie": {"a", "b"}}},
		{Header: http.Header{"Cookie": {"b", "a"}}},
		{Header: http.Header{"Cookie": {"ab"}}},
		{Header: http.Header{"Cookie": {"a, b"}}},
		{Header: http.Header{"Cookie": {"a"}, "X": {"b"}}},
		{Header: http.Header{"Cookie": {"a", "X", "b"}}},
		{Header: http.Header{"Cookie": {""}}},
		{Header: http.Header{"Cookie": {}}},
	} {
		f := c.Fingerprint(secret)
		if other, twice := seen[f]; twice {
			t.Errorf("credentials %d and %d are the same", other, i)
		}
		if seen[f] = i; f != c.Fingerprint(secret) {
			t.Errorf("credentials %d are not the same as themselves", i)
		}
	}
}

func TestAFingerprintIsNoHashThatAnybodyCanMake(t *testing.T) {
	c := broker.Credentials{Header: http.Header{"Cookie": {"sid=ada"}, "Date": {"today"}}}
	if c.Fingerprint([]byte("one")) == c.Fingerprint([]byte("two")) {
		t.Error("it does not depend on the secret")
	}
	other := broker.Credentials{Header: http.Header{"Cookie": {"sid=ada"}, "Date": {"tomorrow"}}}
	if secret := []byte("one"); c.Fingerprint(secret, "Date") != other.Fingerprint(secret, "Date") || c.Fingerprint(secret) == other.Fingerprint(secret) {
		t.Error("what is called noise counts, or what is not does not")
	}
}
