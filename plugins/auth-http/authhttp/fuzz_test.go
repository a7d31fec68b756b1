package authhttp

import (
	"strings"
	"testing"
)

// A configuration is whole or refused, and what is told of it has no secret in it.
func FuzzConfig(f *testing.F) {
	const secret = "0123456789abcdef0123456789abcdef"
	f.Add([]byte(`{"url":"https://app.example/login","services":[{"user":"app","secret":"` + secret + `","grants":{"publish":["a.>"]}}]}`))
	f.Add([]byte(`{"url":"http://app.example/","method":"PUT","services":[{"user":"","secret":"` + secret + `"}]}`))
	f.Add([]byte(`{"url":"https://app.example/","timeout":"10","concurrency":-1,"grants":{"subscribe":["a..b"]}}`))
	f.Add([]byte(`{"url":"::","services":"` + secret + `"}`))
	f.Add([]byte(`{"url":7}{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := ParseConfig(b)
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("it is told %q", err)
		}
	})
}
