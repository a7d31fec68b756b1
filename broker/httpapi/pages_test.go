package httpapi

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestPagesAreServedBehindTheDoorsChecks(t *testing.T) {
	d := newDoor(t, Options{AnyLoopbackOrigin: true})
	d.h.HandlePages(map[string]http.Handler{"/": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	})})
	for _, tc := range []struct {
		name, method, path, header string
		status                     int
	}{
		{"a browser", "GET", "/", "", 200},
		{"its headers alone", "HEAD", "/", "", 200},
		{"a page of another port of this machine", "GET", "/", "Origin: http://localhost:5173", 200},
		{"a page from elsewhere", "GET", "/", "Origin: http://evil.test", 403},
		{"a foreign name", "GET", "/", "Host: evil.test", 421},
		{"a token in the URL", "GET", "/?token=x", "", 400},
		{"another method", "POST", "/", "", 405},
		{"another path", "GET", "/index.html", "", 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var headers []string
			if tc.header != "" {
				headers = append(headers, tc.header)
			}
			got := d.do(tc.method, tc.path, "", headers...)
			if got.status != tc.status {
				t.Fatalf("status %d, want %d: %s", got.status, tc.status, got.body)
			}
			if got.status == 200 && tc.method == "GET" && got.body != "hello" {
				t.Errorf("body %q", got.body)
			}
			if origin, ok := strings.CutPrefix(tc.header, "Origin: "); ok && got.status == 200 && got.header.Get("Access-Control-Allow-Origin") != origin {
				t.Error("the page that was let in cannot read the answer")
			}
			if got.header.Get("Content-Security-Policy") == "" {
				t.Error("no Content-Security-Policy")
			}
		})
	}
}
