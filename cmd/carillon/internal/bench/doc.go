// Package bench measures a running broker from outside: a light client, loads, and the server's own cost.
//
//	FanoutOptions   one publisher, many subscribers of its topic, a window of messages in flight; by WebSocket, SSE or long-poll
//	PacedOptions    messages that come at their own pace, to one topic or many: how long they take
//	PublishOptions  many publishers that wait for their acknowledgements
//	ConnectOptions  many idle subscribed connections: what each costs in memory and in CPU to set up
//	ResumeOptions   clients that are cut off, miss messages, and all come back at once
//
// Each is a Scenario, and a Report has what it has shown against one or more servers, over some rounds. What is compared with is package floor.
//
// The client checks that every message comes once and in order, reads one time from each, and looks at nothing else; a pump reads from all
// connections with a goroutine per core. A run that loses something, or whose load was not made, is an error and has no figures. Server figures
// (CPU, PSS) are those of the server's process and its children, the plugins; they are left out where there is no /proc or the server runs
// elsewhere.
package bench
