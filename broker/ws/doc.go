// Package ws is the WebSocket door: it turns a connection into a broker.Conn.
//
// It speaks RFC 6455 itself, as far as a broker needs it: the upgrade, frames from clients in whatever pieces they come, control frames,
// and whole frames to clients, made of packets that are encoded once and shared by every session. Everything that leaves goes through
// one outlet, and after a close frame nothing follows. coder/websocket is what the tests compare it with.
//
//	Handler.ServeHTTP -> Handler.hijack -> conn.serve (the reader's goroutine) -> frames.take -> conn.message -> Session.Receive
//	Session -> conn.Write -> Outlet.Send, and what the socket does not take -> conn.Flush -> Outlet.Flush
package ws
