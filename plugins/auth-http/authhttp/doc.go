// Package authhttp is a bundled authentication plugin: a broker.Authenticator that asks the application, by HTTP, who a client is. The
// application gets the cookies and the token that the client showed the broker, so whoever is logged in there is logged in here.
//
// A question goes: Auth.Authenticate -> memory.ask (the answer of a moment ago, or of who asks the same now) -> asker.ask (a free place,
// the request, the bounded answer) -> readAnswer -> broker.Identity. 401 and 403 are refusals; everything that is not an answer in
// the documented form is no decision, and never a refusal.
//
// Nothing that a client showed is logged, kept or part of an error: the memory is by a keyed hash.
package authhttp
