// Package conformance shows that a server, or an SDK, keeps the rules of spec/protocol.md.
//
// It plays scripts: sessions told step by step, in YAML (sessions/), each of which names the rules that it shows. README.md says how to write one.
//
//	scripts, err := conformance.Sessions("")
//	results := conformance.Play(ctx, &conformance.Server{URL: "ws://127.0.0.1:8080/ws"}, scripts, nil)
//
// A script goes: Parse (script.go) -> Play -> play.run -> play.step -> conn.next (conn.go) -> variables.match (match.go) -> Result
// (report.go). Packets are written and read by the table of section 4 of the spec (table.go, packet.go, wire.go) and not by the types of
// package protocol, so that the player and a server do not share a mistake, and a packet that the table gains needs no change here. Of
// protocol it uses the gate and the form of tokens.
//
// The package knows nothing of the broker. StartOwn starts one as an executable, for those who want to test that.
package conformance
