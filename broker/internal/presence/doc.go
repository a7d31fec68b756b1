// Package presence knows who is a member of which topic, and what of that has not been told yet ([PRE-1] to [PRE-5]).
//
//	Join, Leave -> Tell, when that is due, hands on the changes of each topic
//	Members                    answers who is there now
//
// It is a table and nothing else: it does no I/O and starts nothing, and the time is handed in. Whoever owns it calls Tell at the time that
// the last Tell has returned, and at once when a Join or a Leave says so. Its memory is bounded by the joins that have not been taken
// back, by the members that are kept for a while when their connection was lost, of which there are at most as many as New was told,
// and by those whose going has not been told yet, for a second.
package presence
