package authhttp

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEveryMistakeInTheConfigurationNamesItsKey(t *testing.T) {
	service := func(members string) string { return `{"url": "https://a.example", "services": [{` + members + `}]}` }
	for _, test := range []struct{ name, json, want string }{
		{"nothing", `{}`, "url: is missing"},
		{"no URL", `{"url": "app.example.com"}`, "url: \"app.example.com\" is not a URL"},
		{"http to another machine", `{"url": "http://app.example.com/"}`, "url: \"http://app.example.com/\" is http to another machine"},
		{"another scheme", `{"url": "ftp://app.example.com/"}`, "url:"},
		{"a password", `{"url": "https://a:b@app.example.com/"}`, "url: there is a user name or a password"},
		{"a fragment", `{"url": "https://app.example.com/#x"}`, "url: there is a fragment"},
		{"an unknown key", `{"uri": "x"}`, "uri"},
		{"another method", `{"url": "https://a.example", "method": "PUT"}`, `method: "PUT"`},
		{"no time", `{"url": "https://a.example", "timeout": "0s"}`, `timeout is "0s"`},
		{"a long time", `{"url": "https://a.example", "timeout": "2m"}`, `timeout is "2m"`},
		{"remembering for ever", `{"url": "https://a.example", "remember": "1h"}`, `remember is "1h"`},
		{"a time without a unit", `{"url": "https://a.example", "remember": "5"}`, `remember is "5"`},
		{"too much at a time", `{"url": "https://a.example", "concurrency": 5000}`, "concurrency: 5000"},
		{"less than nothing at a time", `{"url": "https://a.example", "concurrency": -1}`, "concurrency: -1"},
		{"a certificate without a key", `{"url": "https://a.example", "cert": "x"}`, "cert and key go together"},
		{"files that are not there", `{"url": "https://a.example", "cert": "/no/such", "key": "/no/such"}`, "cert and key: open /no/such"},
		{"no CA", `{"url": "https://a.example", "ca": "/no/such"}`, "ca: open /no/such"},
		{"a CA that is none", `{"url": "https://a.example", "ca": "/dev/null"}`, "no certificate"},
		{"a bad filter", `{"url": "https://a.example", "grants": {"publish": ["a", "b..c"]}}`, `grants.publish[1]: "b..c"`},
		{"half a level", `{"url": "https://a.example", "grants": {"publish": ["a-{user}"]}}`, `grants.publish[0]:`},
		{"a service without a user", service(`"secret": "0123456789abcdef0123456789abcdef"`), "services[0].user is not 1 to 255 bytes"},
		{"a service without a token", service(`"user": "shop"`), "services[0].secret: want either secret or file"},
		{"a service with a short token", service(`"user": "shop", "secret": "short"`), "services[0].secret: the token has 5 bytes, want 32"},
		{"a service with a blank in its token", service(`"user": "shop", "secret": "0123456789abcdef 0123456789abcdef"`), "services[0].secret: the token has a blank"},
		{"a service without its file", service(`"user": "shop", "file": "/no/such"`), "services[0].file: open /no/such"},
		{"a service with a bad filter", service(`"user": "shop", "secret": "0123456789abcdef0123456789abcdef", "grants": {"publish": ["a..b"]}`), `services[0].grants.publish[0]: "a..b"`},
		{"two services with one token", service(`"user": "a", "secret": "0123456789abcdef0123456789abcdef"}, {"user": "b", "secret": "0123456789abcdef0123456789abcdef"`), "services[1]: it has the token of services[0]"},
		{"two objects", `{}{}`, "follows"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := ParseConfig([]byte(test.json))
			if err == nil {
				_, err = New(c)
			}
			if err == nil || !strings.HasPrefix(err.Error(), "auth-http configuration: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	got, err := ParseConfig([]byte(`{"url": "http://app:8000/who", "plain_http": true, "method": "POST", "timeout": "2s", "concurrency": 4, "remember": "none",
		"ca": "a", "cert": "b", "key": "c", "grants": {"subscribe": ["x"]}}`))
	want := Config{
		URL: "http://app:8000/who", PlainHTTP: true, Method: "POST", Timeout: 2 * time.Second, Concurrency: 4, Remember: never,
		CA: "a", Cert: "b", Key: "c", Grants: Grants{Subscribe: []string{"x"}},
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	want.CA, want.Cert, want.Key = "", "", ""
	if a, err := New(want); err != nil {
		t.Error(err)
	} else if _ = a.Close(); a.memory.ttl != never {
		t.Errorf("remembers for %v", a.memory.ttl)
	}
}
