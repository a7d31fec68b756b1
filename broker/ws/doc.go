// Package ws is the WebSocket door: it turns a connection into a broker.Conn.
//
// coder/websocket does the handshake, reading, unmasking, and answers the client's control frames. Data frames are written here,
// beside it, from packets that are encoded once and shared by every session. The two meet in conn: everything that leaves goes
// through one outlet as whole frames, and after a close frame nothing follows.
//
//	Handler.ServeHTTP -> hijack -> websocket.Accept -> conn.serve (the reader's goroutine) -> Session.Receive
//	Session -> conn.Write -> Outlet.Send, and what the socket does not take -> conn.Flush -> Outlet.Flush
//
// What this rests on inside coder/websocket is pinned by TestControlFramesAreWholeWrites.
package ws
