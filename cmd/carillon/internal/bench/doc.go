// Package bench measures a running broker from outside: a light client, a load, and the server's own cost.
//
//	Fanout   one publisher, many subscribers of its topic, a window of messages in flight; by WebSocket, SSE or long-poll
//	Publish  many publishers that wait for their acknowledgements
//	Resume   clients that are cut off, miss messages, and all come back at once
//	Connect  many idle subscribed connections: what each costs in memory and in CPU to set up
//
// The client counts what comes and checks its order, and looks at nothing else. Server figures (CPU, PSS) are those of the server's
// process and its children, the plugins, read from /proc; they are left out where there is no /proc or the server runs elsewhere.
package bench
