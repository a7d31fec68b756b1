// Package authjwt is a bundled authentication plugin: a broker.Authenticator for JSON Web Tokens that are signed with the keys of
// configured issuers.
//
// A token goes: Auth.Authenticate -> parseToken (size, base64, JSON, header) -> Auth.issuerOf -> trust.key (keyring.find) -> key.verify
// (the only use of the JOSE library) -> Auth.identity (kind, issuer, audience, times, subject, revocation) -> claims.fill (grants) ->
// broker.Identity. Nothing that the token claims is believed, or told to the client, before its signature was found right; its iss
// only chooses whose keys are tried.
//
// Auth.Start keeps what may change fresh: key sets (keySource, from a URL or a file) and the list of what is revoked (revocations).
//
// The package reads tokens itself, and more strictly than the libraries do: one way to write a token, or none; golang-jwt
// computes signatures and is not asked for anything else. Base64 is canonical, no member of an object comes twice, a
// registered claim is written as it is registered, `crit` is refused, and an algorithm belongs to the key and is never taken
// from the token. Refusals are *protocol.Error and say what was found, what was wanted and what to do, without a byte of the
// token's text.
package authjwt
