package plugintest

import "github.com/carillon-mq/carillon/broker"

// storeCases are the cases of a store: what every one does, then the powers, then the crashes.
func storeCases() []Case {
	var all []Case
	for _, list := range [][]Case{storeBasics, storePowers, storeKeyspace, storeCrashes} {
		for _, c := range list {
			c.Kind = KindStore
			if c.Where == "" {
				c.Where = storeProto
			}
			all = append(all, c)
		}
	}
	return all
}

var storeBasics = []Case{
	{
		Name: "a new store is empty and has a term", run: onStore(testEmpty),
		Does: "opens an empty folder, loads, and follows until the feed has caught up",
		Says: "Set once, when everything committed at the time of the call has been sent.",
	},
	{
		Name: "what was appended is followed and loaded", run: onStore(testRoundTrip),
		Does: "appends records with every field, with Unicode, binary, empty and 64 KiB payloads, follows from 0 and loads",
		Says: "Everything but the offset is opaque to the store, except that retain replaces the topic's retained record, or clears it when the payload is empty.",
	},
	{
		Name: "a retained record is replaced and cleared", run: onStore(testRetained),
		Does: "replaces and clears retained records, loads, and follows from 0",
		Says: "LoadRetained sends every current retained record, in any order",
	},
	{
		Name: "own records may be elided, others come whole", run: onStore(testElided),
		Does: "appends records of two origins and follows as one of them",
		Says: "Records with this origin may be sent elided: the broker still holds them.",
	},
	{
		Name: "a feed begins after any offset and misses nothing", run: onStore(testFollowAfter),
		Does: "follows after each seventh of 30 records",
		Says: "Follow is the feed of committed records with an offset above after, in strictly increasing order",
	},
	{
		Name: "a feed goes on with what is committed next", run: onStore(testLive),
		Does: "has two feeds that have caught up, appends 500 records, and compares both",
		Says: "first what is already committed, then one message with caught_up set, then each commit as it happens",
	},
	{
		Name: "batches are committed in the order of the calls", run: onStore(testOrder),
		Does: "sends 500 batches without waiting for answers, and follows",
		Says: "The plugin commits batches in the order in which they came, the records of a batch in their order",
	},
	{
		Name: "a record is committed once", Own: true, run: onStore(testDuplicates),
		Does: "appends records again under the same origin and ref, at once and after a kill",
		Says: "A record whose origin and ref have been committed is not committed again, and is answered with duplicate.",
	},
	{
		Name: "a record is committed once, also much later", run: onStore(testOldRepeats),
		Does: "appends 6,000 records, and the first ones again",
		Says: "A record whose origin and ref have been committed is not committed again, and is answered with duplicate.",
	},
	{
		Name: "refs of two brokers are not the same", run: onStore(testOrigins),
		Does: "appends records with the same refs under two origins, and follows",
		Says: "That run's own number for it.",
	},
	{
		Name: "batches are answered once each, in their order", run: onStore(testAnswers),
		Does: "sends 300 batches on one stream, closes its sending end, and reads the answers",
		Says: "answers each once, in the same order, only after its commit is durable",
	},
	{
		Name: "retained records come in messages of bounded size, and then the last", run: onStore(testLoadMessages),
		Does: "retains 700 records of 4 KB, and looks at each message of LoadRetained",
		Says: "in messages of at most 256 records or 1 MiB, then one message with last set",
	},
	{
		Name: "who follows and does not read holds up nobody", run: onStore(testStalledFollower),
		Does: "opens a feed, does not read it, and appends 20 MB",
		Says: manyCalls, Where: pluginMD,
	},
	{
		Name: "a power that is not announced is not there", run: onStore(testUnannounced),
		Does: "makes the calls of the powers that the plugin does not announce",
		Says: "The calls of a power that is not announced are answered with UNIMPLEMENTED; its fields are never sent.",
	},
	{
		Name: "one bad record spoils no other", run: onStore(testRefusal),
		Does: "appends a batch with a record of 2 MiB in the middle",
		Says: "The record was refused and not committed; the others of its batch stand.",
	},
	{
		Name: "loading and then following misses nothing", run: onStore(testLoadThenFollow),
		Does: "loads ten times while others append, follows from each head, and compares the outcome",
		Says: "Its head is an offset such that these records and a Follow after it miss nothing.",
	},
	{
		Name: "everything is there after a clean restart", Own: true, run: onStore(testRestart),
		Does: "appends, asks the process to end, starts it again, follows, loads and appends",
		Says: "Each time it opens for writing it durably starts a new term, a random id.",
	},
}

var storePowers = []Case{
	{
		Name: "every opening is a term, in order", Power: broker.PowerTerms, Own: true, run: onStore(testTerms),
		Does: "kills the plugin three times and compares the list of terms with the ones that the feeds told",
		Says: "ListTerms is every term that the store still knows, oldest first, the present one last.",
	},
	{
		Name: "a history has what its rules keep, and says what it lacks", Power: broker.PowerHistory, run: onStore(testHistory),
		Does: "sets rules by count and bytes, appends to several topics, and reads the history of each",
		Says: "The first one that matches a topic decides; a topic that none matches has no history.",
	},
	{
		Name: "a history is read in pages, each record once", Power: broker.PowerHistory, run: onStore(testHistoryPages),
		Does: "reads 180 records in pages of several sizes, between offsets, and the newest ones",
		Says: "ReadHistory is one page of the history of the topics that filters match, in increasing order of offsets, each record once.",
	},
	{
		Name: "rules and history outlive a kill", Power: broker.PowerHistory, Own: true, run: onStore(testHistoryKill),
		Does: "sets rules, appends, kills the plugin three times, and reads what they keep",
		Says: "The rules replace those set before and are durable when the call is answered.",
	},
	{
		Name: "a record that is too old is not served", Power: broker.PowerHistory, run: onStore(testHistoryAge),
		Does: "sets a rule of 300 ms, appends, waits 400 ms, and reads",
		Says: "A record beyond its topic's count, bytes or age is never in it, and neither is one that has expired.",
	},
	{
		Name: "what was committed before its topic had a history is told as missing", Power: broker.PowerHistory, run: onStore(testHistoryBegins),
		Does: "appends, sets a rule, and reads",
		Says: "what was committed before that is not found by ReadHistory, and trimmed_through says so",
	},
	{
		Name: "a retained record that has expired is cleared through the feed", Power: broker.PowerTTL, Own: true, run: onStore(testExpiry),
		Does: "retains a record for 500 ms, follows until it is cleared, loads, and loads again after a kill",
		Says: "it commits a record of the topic with retain, without payload, origin and ref, which Follow brings like any other",
	},
	{
		Name: "an expired record leaves the history without a gap", Power: broker.PowerTTL, run: onStore(testHistoryExpiry),
		Does: "appends a record for 200 ms among others, waits 300 ms, and reads",
		Says: "The history leaves an expired record out, which is no gap.",
	},
	{
		Name: "a key is committed once, also across kills", Power: broker.PowerKeys, Own: true, run: onStore(testKeys),
		Does: "appends records with keys again, with the same and with another digest, in one process and over three kills",
		Says: "with the same digest it is answered with duplicate and repeats and the first one's offset, with another one it is refused as duplicate_id",
	},
	{
		Name: "figures are what was done", Power: broker.PowerStatistics, run: onStore(testStatistics),
		Does: "appends three records and compares the figures",
		Says: "ReadStatisticsResponse are figures; one that the store does not have is 0.",
	},
	{
		Name: "a backup made while appends go on is a store", Power: broker.PowerBackup, Own: true, run: onStore(testBackup),
		Does: "makes a backup while records are appended, starts the plugin with it, and compares it with the original up to the backup's head",
		Says: "Backup is a copy of everything committed up to some offset at or after the call",
	},
}

var storeCrashes = []Case{
	{
		Name: "nothing is acknowledged before the disk has it", Own: true, run: testSyncs,
		Does: "runs the plugin under strace, and looks for a sync between each append and its answer, one after another",
		Says: `"durability:fsync" (committed records survive the loss of power)`,
	},
	{
		Name: "nothing acknowledged is lost when the power is", Own: true, run: testPowerCuts,
		Does: "runs the plugin under strace, appends, kills it and goes on, makes folders of what a loss of power could have left at some moments, " +
			"starts the plugin with each, and compares the feed and the retained records with everything acknowledged or shown by then",
		Says: "Committed means: it survives the loss of the process and of power.",
	},
	{
		Name: "a store whose disk refuses to sync ends", Own: true, run: testRefusedSyncs,
		Does: "has strace answer each sync with EIO from some moment on, appends, and starts the plugin again",
		Says: "A store that cannot promise that anymore (a failed fsync) ends its streams with an error and exits; it is started again.",
	},
	{
		Name: "nothing acknowledged is lost by a kill", Own: true, run: onStore(testKills),
		Does: "appends with 16 batches on their way, kills the process, starts it again, compares the feed and the retained records with everything " +
			"acknowledged, repeats what had no answer, and does that again",
		Says: "Committed means: it survives the loss of the process and of power.",
	},
}
