// Package ws is the WebSocket door: it turns a connection into a broker.Conn.
//
// coder/websocket shakes hands, behind our own refusals. Frames are read and written here: from clients in whatever pieces they come, and
// whole ones to clients, made of packets that are encoded once and shared by every session. Everything that leaves goes through one outlet,
// and after a close frame nothing follows. The tests compare the reading with the library's.
//
//	Handler.ServeHTTP -> Handler.hijack -> conn.start, Poller -> conn.Run -> frames.take -> conn.message -> Session.Receive
//	of carillon.v1.json: conn.message -> conn.receiveText -> packetjson.Read -> Session.Receive
//	Session -> conn.Write -> Outlet.Send, and what the socket does not take -> conn.Flush -> Outlet.Flush
package ws
