// Package workload is the load of every test that breaks things, the one log of what happened meanwhile, and the checks of what was
// promised, which all run over that log.
//
//	load := workload.Start(ctx, workload.Options{URL: url, Publishers: 8, Subscriptions: …})
//	… kills and cuts, each after load.Await …
//	load.Finish(ctx)
//	report := workload.Check(load.Log.Events())
//	report.Err(workload.Floor{Acked: 1000, Shown: 5000})
//
// Publishers number their messages for each topic. A publish whose outcome is unknown is repeated with its id until it is
// acknowledged, if the topic's messages go to the store; otherwise it stays unknown. Subscribers note everything they are handed.
//
// The checks are pure functions of the events: order, uniqueness, completeness, whole snapshots, kept (what was acknowledged or shown is in the
// store), conservation (gaps count exactly what is missing), registers (retained topics are linearizable), and allowed (intruders are
// let do nothing). Each is proven by faults that are put into the log of a run without any. A run with less load than its Floor is invalid, whatever the checks say.
package workload
