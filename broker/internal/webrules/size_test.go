package webrules

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTooManyBytesOfHeadersAreRefusedWithTheNameOfTheLargest(t *testing.T) {
	req := httptest.NewRequest("GET", "/", nil)
	req.Header.Set("Cookie", strings.Repeat("x", 10_000))
	if err := HeaderSize(req); err != nil {
		t.Error(err)
	}
	req.Header["X-Other"] = []string{strings.Repeat("y", 3_000), strings.Repeat("z", 3_500)}
	err := HeaderSize(req)
	if err == nil || err.Error() != "headers_too_large: found 16533 bytes of headers, the limit is 16384; Cookie has 10010 of them" {
		t.Error(err)
	}
	if err := HeaderSize(httptest.NewRequest("GET", "/"+strings.Repeat("a", MaxRequestHeaders), nil)); err == nil || !strings.Contains(err.Detail, "the address has") {
		t.Error(err)
	}
}
