package broker

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"net/http"
	"slices"
)

// Credentials is what a client showed: the token of Connect, or what came with the HTTP request when Connect had none.
type Credentials struct {
	Token     string      // bearer token; never logged
	Transport string      // "ws", "sse", "poll" or "http"
	Remote    string      // client address without port, after trusted proxies
	Header    http.Header // selected headers of the request (Cookie, Origin, User-Agent, …), by canonical name; may be nil
	Previous  *Principal  // of a fresh token: who the session has been so far. nil: it begins
}

// Fingerprint stands for Credentials where answers about them are remembered: the credentials themselves are not kept.
type Fingerprint [sha256.Size]byte

// Fingerprint stands for everything that c shows (Previous is no part of that): two that differ in token, transport, address, or in any header,
// its values or their order, have different ones. Without the secret, of 32 random bytes, nobody can try what it stands for. Headers of
// the names in noise do not count.
func (c *Credentials) Fingerprint(secret []byte, noise ...string) (f Fingerprint) {
	h := hmac.New(sha256.New, secret)
	for _, part := range []string{c.Token, c.Transport, c.Remote} {
		writePart(h, part)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Header)) {
		if slices.Contains(noise, name) {
			continue
		}
		writePart(h, name)
		writeCount(h, len(c.Header[name]))
		for _, value := range c.Header[name] {
			writePart(h, value)
		}
	}
	h.Sum(f[:0])
	return f
}

// writePart writes s so that no two lists of parts are the same bytes.
func writePart(h hash.Hash, s string) {
	writeCount(h, len(s))
	h.Write([]byte(s))
}

func writeCount(h hash.Hash, n int) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}
