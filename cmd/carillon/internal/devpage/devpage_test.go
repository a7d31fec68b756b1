package devpage

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, h http.Handler, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if len(header) == 2 {
		r.Header.Set(header[0], header[1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestEverythingThatThePageNamesIsServed(t *testing.T) {
	pages := Pages([]byte("export {}"))
	named := regexp.MustCompile(`(?:(?:src|href)="|from ')(\.?/[^"#']*)`)
	seen := 0
	for path, page := range pages {
		body, err := io.ReadAll(get(t, page).Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(body), -1) {
			at := strings.Replace(m[1], "./", "/dev/", 1)
			if strings.Contains(m[1], "$") {
				continue // a snippet
			}
			seen++
			if pages[at] == nil {
				t.Errorf("%s names %s, which is not served", path, at)
			}
		}
	}
	if seen < 6 {
		t.Errorf("only %d references were found", seen)
	}
}

func TestEveryFileHasItsTypeAndTheStrictPolicy(t *testing.T) {
	for path, page := range Pages([]byte("export {}")) {
		resp := get(t, page)
		policy := resp.Header.Get("Content-Security-Policy")
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %s, type %q", path, resp.Status, resp.Header.Get("Content-Type"))
		}
		if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if again := get(t, page, "If-None-Match", resp.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: asked again, it is %s", path, again.Status)
		}
	}
}

func TestThePageHasNothingInlineThatThePolicyWouldRefuse(t *testing.T) {
	html, err := files.ReadFile("page/index.html")
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`<style|\sstyle=|\son[a-z]+=|<script>|javascript:`).Find(html); found != nil {
		t.Errorf("found %q", found)
	}
}
