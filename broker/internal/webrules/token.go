package webrules

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
)

// Token is the token that came with the request: of the Authorization header, else of the configured cookie; "" without either. A
// browser sends a cookie whatever page asks it to, so with one the request has to come from a page that is listed by name or
// from none: anything else is bad_origin.
func (r *Rules) Token(req *http.Request) (string, *protocol.Error) {
	if r == nil || r.cookie == "" || len(req.Header.Values("Authorization")) > 0 {
		return Bearer(req.Header)
	}
	token, err := r.cookieToken(req)
	if token == "" || err != nil {
		return "", err
	}
	if err := r.checkCookieOrigin("the token is in the cookie "+r.cookie, req); err != nil {
		return "", err
	}
	return token, nil
}

// Headers are the headers of the request that the authenticator gets beside the token; nil when it has none of them. Cookies are among them
// only if the request comes from a page that may use them, as with the token in one: otherwise it is bad_origin, or, where the request brings a
// token of its own, they are left out.
func (r *Rules) Headers(req *http.Request) (http.Header, *protocol.Error) {
	if r == nil || len(r.headers) == 0 {
		return nil, nil
	}
	var out http.Header
	for _, name := range r.headers {
		values := req.Header[name]
		if len(values) == 0 {
			continue
		}
		if name == "Cookie" {
			if err := r.checkCookieOrigin("the request has a Cookie header", req); err != nil && len(req.Header["Authorization"]) == 0 {
				return nil, err
			} else if err != nil {
				continue
			}
		}
		if out == nil {
			out = http.Header{}
		}
		out[name] = values
	}
	return out, nil
}

// Vary names the request headers that decide who a request is from.
func (r *Rules) Vary() []string {
	names := []string{"Authorization"}
	if r.cookie != "" && !slices.Contains(r.headers, "Cookie") {
		names = append(names, "Cookie")
	}
	return append(names, r.headers...)
}

// Bearer is the token of the Authorization header (RFC 6750 section 2.1); "" without one.
func Bearer(header http.Header) (string, *protocol.Error) {
	values := header.Values("Authorization")
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", protocol.Errorf(protocol.CodeTokenMalformed, "found %d Authorization headers, want one", len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return "", protocol.Errorf(protocol.CodeTokenMalformed, "the Authorization header is of another scheme than Bearer").
			WithHint("send Authorization: Bearer <token>")
	case token == "":
		return "", protocol.Errorf(protocol.CodeTokenMalformed, "the Authorization header has no token after Bearer")
	}
	return token, checkTokenSize(token)
}

// cookieToken is the value of the configured cookie; "" without one, or with one that has been emptied.
func (r *Rules) cookieToken(req *http.Request) (string, *protocol.Error) {
	cookies := req.CookiesNamed(r.cookie)
	switch {
	case len(cookies) == 0:
		return "", nil
	case len(cookies) > 1: // a page of another subdomain can put one beside the application's
		return "", protocol.Errorf(protocol.CodeTokenMalformed, "found %d cookies of the name %s, want one", len(cookies), r.cookie).
			WithHint("set the cookie with one Path and one Domain only, and remove the other")
	}
	return cookies[0].Value, checkTokenSize(cookies[0].Value)
}

func checkTokenSize(token string) *protocol.Error {
	if len(token) <= protocol.MaxTokenBytes {
		return nil
	}
	return protocol.Errorf(protocol.CodeTokenMalformed, "found a token of %d bytes, the limit is %d", len(token), protocol.MaxTokenBytes)
}

// checkCookieOrigin refuses a request with cookies, as found says, that another page than a listed one makes. `origins: ["*"]` lists none.
// Where Origin is missing the browser's Sec-Fetch-Site tells; where both are, it is no browser that could be misled, or one that
// shows the answer to nobody.
func (r *Rules) checkCookieOrigin(found string, req *http.Request) *protocol.Error {
	switch origins := req.Header.Values("Origin"); {
	case len(origins) == 0:
		site := req.Header.Values("Sec-Fetch-Site")
		if len(site) == 0 || len(site) == 1 && (site[0] == "same-origin" || site[0] == "none") {
			return nil
		}
		return protocol.Errorf(protocol.CodeBadOrigin, "%s, and the request comes from another site (Sec-Fetch-Site: %s)",
			found, clip(strings.Join(site, ", "))).
			WithHint("a page of another origin sends its own token: Authorization: Bearer <token>, or by WebSocket the token in Connect")
	case len(origins) == 1 && r.named(origins[0], req):
		return nil
	default:
		text := clip(strings.Join(origins, ", "))
		return protocol.Errorf(protocol.CodeBadOrigin, "%s, and the page of origin %q is not one of those that may use it",
			found, text).
			WithHint(fmt.Sprintf("if that page is yours, name it in the configuration (origins: [%q]; \"*\" is not enough for cookies), or have it send Authorization: Bearer <token>", text))
	}
}
