package plugintest

// authCases are the cases of an auth plugin.
func authCases() []Case {
	var all []Case
	for _, list := range [][]Case{authBasics, authRights, authRevocations} {
		for _, c := range list {
			if c.Kind = KindAuth; c.Where == "" {
				c.Where = authProto
			}
			all = append(all, c)
		}
	}
	return all
}

// manyCalls is said of every plugin.
const manyCalls = "Calls come concurrently: be ready for 64 of a kind at a time"

var authBasics = []Case{
	{
		Name: "every login gets its answer", run: onAuth(withLogins(testLogins)),
		Does: "tries the logins that came with the plugin, and reads the answers",
		Says: "Refusing a client is an answer, not an error.",
	},
	{
		Name: "every login gets its answer, also many at once", run: onAuth(withLogins(testManyLogins)),
		Does: "has 64 callers try different logins at the same time, five times each",
		Says: manyCalls, Where: pluginMD,
	},
	{
		Name: "hostile tokens are refused by a process that lives on", run: onAuth(testHostile),
		Does: "sends tokens that are empty, long, nested, binary or somebody else's language, and then the good ones again",
		Says: "AuthenticateResponse without a decision is malformed.",
	},
	{
		Name: "hostile headers are refused by a process that lives on", run: onAuth(testHeaders),
		Does: "sends headers that are many, long, empty, broken or binary, from every transport, one of a later version, and from no address",
		Says: "Bytes that are not UTF-8 are replaced by U+FFFD.",
	},
	{
		Name: "a changed token is another one", run: onAuth(withLogins(testAltered)),
		Does: "cuts, doubles and changes the tokens that are accepted, and puts something before and behind them, NUL too",
		Says: "The bearer token; empty when the client has none, and the headers may carry other credentials.",
	},
	{
		Name: "its health is told at once while it is busy", run: onAuth(withLogins(testBusy)),
		Does: "has 64 callers ask for decisions, and asks for the health meanwhile",
		Says: manyCalls, Where: pluginMD,
	},
	{
		Name: "a power that is not announced is not there", run: onAuth(testAuthUnannounced),
		Does: "makes the calls of the powers that the plugin does not announce",
		Says: "UNIMPLEMENTED says that the plugin does not have this power.",
	},
	{
		Name: "a call that is given up does no harm", run: onAuth(withLogins(testDeadline)),
		Does: "gives up calls before and while they are answered, and then tries the logins",
		Says: "Idempotent: it is asked again when a client comes back.",
	},
	{
		Name: "after a kill it answers as before", Own: true, run: onAuth(withLogins(testAuthKill)),
		Does: "kills the process, starts it again, and tries the logins",
		Says: "Idempotent: it is asked again when a client comes back.",
	},
}
