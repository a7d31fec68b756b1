package webrules

import (
	"net/http"

	"github.com/carillon-mq/carillon/protocol"
)

// MaxRequestHeaders is how many bytes the address and the headers of a request may have.
const MaxRequestHeaders = 16 << 10

// HeaderSize refuses a request with more than that, and names what is largest: most often it is a cookie. Whoever reads the
// request has to take more than MaxRequestHeaders, or clients get no explanation.
func HeaderSize(req *http.Request) *protocol.Error {
	name, largest, total := "the address", len(req.RequestURI), len(req.RequestURI)
	for k, values := range req.Header {
		size := 0
		for _, v := range values {
			size += len(k) + len(v) + len(": \r\n")
		}
		if total += size; size > largest {
			name, largest = k, size
		}
	}
	if total <= MaxRequestHeaders {
		return nil
	}
	return protocol.Errorf(protocol.CodeHeadersTooLarge, "found %d bytes of headers, the limit is %d; %s has %d of them",
		total, MaxRequestHeaders, clip(name), largest)
}
