// Package config is the broker's configuration: its keys, their defaults, where a value may come from and what makes it wrong.
//
// A value comes from a flag, else from the environment, else from the YAML file, else from Default. Every key of Config has one
// name in the file (`limits.ring`) and one in the environment (CARILLON_LIMITS_RING). Load collects every mistake it finds
// instead of stopping at the first; Check adds what can only be said of the whole. Nothing here opens a socket or starts a
// process.
//
// Load -> parse (yaml.go) -> decode (decode.go) -> environment, flags (load.go) -> Check (check.go).
package config

import "time"

// Config is a complete configuration. The tags are the source of the file's keys, the environment's names and the JSON Schema:
// `key` is the name, `min` and `max` bound a number, a duration or a size, `unlimited` allows that word, `enum` lists what is
// allowed, `doc` is one sentence for the schema.
type Config struct {
	Listen  string   `key:"listen" doc:"HOST:PORT of the public listener: WebSocket and HTTP."`
	Admin   Admin    `key:"admin" doc:"The listener for operators."`
	TLS     TLS      `key:"tls" doc:"TLS for the public listener."`
	Origins []string `key:"origins" doc:"Web origins that may connect, such as https://app.example.com or https://*.example.com; the broker's own is always allowed."`
	Hosts   []string `key:"hosts" doc:"Host names clients use to reach the broker. Loopback ones and the host of listen are always accepted; IP addresses are when listen is one beyond this machine."`

	TrustedProxies []string `key:"trusted_proxies" doc:"Addresses and ranges of the proxies in front, whose word about a client's address is taken."`
	TrustedHeader  string   `key:"trusted_header" enum:"auto,x-forwarded-for,forwarded" doc:"The header in which they say it; auto: X-Forwarded-For, or Forwarded in a request without it."`

	Compress string `key:"compress" enum:"on,off" doc:"Whether payloads are compressed for clients that ask for it, each message once for all."`

	DataDir string  `key:"data_dir" doc:"Folder for everything that is kept."`
	Log     Log     `key:"log" doc:"What is logged, on standard error."`
	Limits  Limits  `key:"limits" doc:"Bounds on what clients can make the broker hold or do."`
	Topics  []Topic `key:"topics" doc:"Rules that give topics their class; the first match wins, otherwise memory."`
	Auth    Auth    `key:"auth" doc:"Who may do what."`
	Store   Store   `key:"store" doc:"What outlives the broker."`

	Unsupervised string `key:"unsupervised" enum:"deny,allow" doc:"Whether auth.attach and store.attach may name plugins that somebody else has started; carillon dev allows it."`
}

// Admin is the listener for operators.
type Admin struct {
	Listen string `key:"listen" doc:"HOST:PORT of /livez, /readyz, /metrics and /v1/admin, or none."`
	TLS    TLS    `key:"tls" doc:"TLS for the admin listener."`
}

// TLS is what a listener needs to speak TLS. Without Cert and Key it does not.
type TLS struct {
	Cert       string `key:"cert" doc:"File with the certificate and its issuers', in PEM (certbot: fullchain.pem)."`
	Key        string `key:"key" doc:"File with its key, in PEM."`
	MinVersion string `key:"min_version" enum:"1.2,1.3" doc:"The least version of TLS that is spoken."`
}

// On reports whether TLS is spoken.
func (t TLS) On() bool { return t.Cert != "" && t.Key != "" }

// Log says what is logged.
type Log struct {
	Level  string `key:"level" enum:"debug,info,warn,error" doc:"The least that is logged."`
	Format string `key:"format" enum:"text,json" doc:"One line a record."`
}

// Auth names the authentication plugin and what happens without one.
type Auth struct {
	Plugin             string   `key:"plugin" doc:"Name of a bundled plugin (auth-jwt or auth-http), or none."`
	Path               string   `key:"path" doc:"Executable of a plugin that is not bundled."`
	Attach             string   `key:"attach" doc:"unix:/path of the socket of a plugin that you have started yourself, under a debugger: it is asked in the place of plugin or path, and is not supervised."`
	SHA256             string   `key:"sha256" doc:"Checksum of that executable, 64 hexadecimal digits."`
	Config             Opaque   `key:"config" doc:"Handed to the plugin."`
	OnFailure          string   `key:"on_failure" enum:"deny,last_known_good" doc:"What a new client gets while the plugin gives no answer: it is denied, or let in as the plugin last let it in with the very same credentials."`
	LastKnownGood      Duration `key:"last_known_good" min:"1s" max:"24h" doc:"With on_failure: last_known_good, how old that answer may be; it is never used beyond the expiry of the token."`
	StartTimeout       Duration `key:"start_timeout" min:"1s" max:"1h" doc:"From the start of the plugin until it is ready."`
	CrashBudget        Count    `key:"crash_budget" min:"1" unlimited:"true" doc:"Ends within crash_window, beyond which the plugin has failed and is left alone for as long."`
	CrashWindow        Duration `key:"crash_window" min:"1s" max:"24h" doc:"The time that crash_budget is for."`
	Rlimit             Rlimit   `key:"rlimit" doc:"What the plugin's process may take of the machine (Linux)."`
	Shadow             Shadow   `key:"shadow" doc:"A candidate that is asked beside the plugin and decides nothing."`
	Cookie             string   `key:"cookie" doc:"Name of the cookie in which browsers may bring the token; only the broker's own pages and those that origins names may use it."`
	Headers            []string `key:"headers" doc:"Names of request headers that the plugin gets beside the token, such as Cookie; cookies only of the broker's own pages and of those that origins names."`
	Anonymous          string   `key:"anonymous" enum:"deny,allow" doc:"Whether a client without a token is let in."`
	AnonymousPublish   []string `key:"anonymous_publish" doc:"Filters that an anonymous client may publish to, when there is a plugin."`
	AnonymousSubscribe []string `key:"anonymous_subscribe" doc:"Filters that an anonymous client may subscribe to, when there is a plugin."`
}

// Store names the storage plugin.
type Store struct {
	Plugin       string   `key:"plugin" doc:"Name of a bundled plugin (store-bolt), or none: retained values are then lost with the process, and no topic can be stored."`
	Path         string   `key:"path" doc:"Executable of a plugin that is not bundled."`
	Attach       string   `key:"attach" doc:"unix:/path of the socket of a plugin that you have started yourself, under a debugger: it is asked in the place of plugin or path, and is not supervised."`
	SHA256       string   `key:"sha256" doc:"Checksum of that executable, 64 hexadecimal digits."`
	Config       Opaque   `key:"config" doc:"Handed to the plugin."`
	OnFailure    string   `key:"on_failure" enum:"wait" doc:"What a stored or retained publish gets while the plugin is away: it waits, up to limits.store_timeout and limits.store_pending."`
	StartTimeout Duration `key:"start_timeout" min:"1s" max:"1h" doc:"From the start of the plugin until it is ready; a store reads what it holds."`
	CrashBudget  Count    `key:"crash_budget" min:"1" unlimited:"true" doc:"Ends within crash_window, beyond which the plugin has failed and is left alone for as long."`
	CrashWindow  Duration `key:"crash_window" min:"1s" max:"24h" doc:"The time that crash_budget is for."`
	Rlimit       Rlimit   `key:"rlimit" doc:"What the plugin's process may take of the machine (Linux)."`
}

// Rlimit bounds a plugin's process, and each that it starts.
type Rlimit struct {
	Memory       Size  `key:"memory" min:"1MiB" unlimited:"true" doc:"Memory of its own (RLIMIT_DATA)."`
	AddressSpace Size  `key:"address_space" min:"1MiB" unlimited:"true" doc:"What it has mapped, reserved or used (RLIMIT_AS); Go programs reserve more than 1GiB."`
	OpenFiles    Count `key:"open_files" min:"16" unlimited:"true" doc:"Open files (RLIMIT_NOFILE)."`
	CPUSeconds   Count `key:"cpu_seconds" min:"1" unlimited:"true" doc:"Seconds of computing in its whole life (RLIMIT_CPU)."`
	Processes    Count `key:"processes" min:"1" unlimited:"true" doc:"Processes and threads of its user, those of other programs among them (RLIMIT_NPROC)."`
}

// Shadow names a candidate for the auth plugin. Without Plugin and Path there is none.
type Shadow struct {
	Plugin string `key:"plugin" doc:"Name of a bundled plugin (auth-jwt or auth-http), or none."`
	Path   string `key:"path" doc:"Executable of a plugin that is not bundled."`
	SHA256 string `key:"sha256" doc:"Checksum of that executable, 64 hexadecimal digits."`
	Config Opaque `key:"config" doc:"Handed to the candidate."`
}

// Limits bound what clients can make the broker hold or do.
type Limits struct {
	Payload            Size     `key:"payload" min:"1B" max:"16MiB" doc:"Payload of one message, through every door."`
	Headers            Size     `key:"headers" min:"1B" max:"4KiB" doc:"Headers of one message and its content type."`
	Ring               Size     `key:"ring" min:"1MiB" max:"1TiB" doc:"Memory for recent messages, from which clients resume."`
	Pending            Size     `key:"pending" min:"1KiB" max:"64MiB" doc:"Bytes that wait for one session's socket before it lags."`
	Inflight           Count    `key:"inflight" min:"1" max:"65536" doc:"Publishes of one session that wait for their acknowledgement."`
	Subscriptions      Count    `key:"subscriptions" min:"1" unlimited:"true" doc:"Subscriptions of one session."`
	SubscribeRate      Count    `key:"subscribe_rate" min:"1" unlimited:"true" doc:"Subscribes and unsubscribes of one session per second."`
	SubscribeBurst     Count    `key:"subscribe_burst" min:"1" doc:"Of those, at once."`
	PublishRate        Count    `key:"publish_rate" min:"1" unlimited:"true" doc:"Publishes of one session per second."`
	PublishBurst       Count    `key:"publish_burst" min:"1" doc:"Of those, at once."`
	PublishBytes       Size     `key:"publish_bytes" min:"1KiB" unlimited:"true" doc:"Payload bytes of one session per second."`
	PingRate           Count    `key:"ping_rate" min:"1" unlimited:"true" doc:"Pings from one client per second."`
	AcceptRate         Count    `key:"accept_rate" min:"1" unlimited:"true" doc:"Connections to the public listener that are accepted per second; more of them wait."`
	AcceptBurst        Count    `key:"accept_burst" min:"1" doc:"Of those, at once."`
	Sessions           Count    `key:"sessions" min:"1" unlimited:"true" doc:"Sessions in all; never more than 80 % of the files that the process may have open."`
	SessionsPerUser    Count    `key:"sessions_per_user" min:"1" unlimited:"true" doc:"Sessions of one user; anonymous clients are not counted."`
	SessionsPerAddress Count    `key:"sessions_per_address" min:"1" unlimited:"true" doc:"Sessions from one address; loopback is not counted."`
	SubscriptionsTotal Count    `key:"subscriptions_total" min:"1" unlimited:"true" doc:"Subscriptions in all."`
	Retained           Count    `key:"retained" min:"1" unlimited:"true" doc:"Retained topics."`
	RetainedBytes      Size     `key:"retained_bytes" min:"1KiB" unlimited:"true" doc:"Memory of retained values, overhead included."`
	StorePending       Size     `key:"store_pending" min:"1KiB" unlimited:"true" doc:"Publishes that wait for the store."`
	MessageIDs         Count    `key:"message_ids" min:"1" unlimited:"true" doc:"Message ids of the last two minutes, by which a repeated publish is known; beyond them one with an id is refused."`
	AuthTimeout        Duration `key:"auth_timeout" min:"10ms" max:"5m" doc:"An answer of the authentication plugin."`
	StoreTimeout       Duration `key:"store_timeout" min:"10ms" max:"5m" doc:"A commit of the storage plugin."`
	ConnectTimeout     Duration `key:"connect_timeout" min:"100ms" max:"5m" doc:"From the upgrade to a good Connect."`
	PingEvery          Duration `key:"ping_every" min:"1s" max:"10m" doc:"Between two pings of the broker."`
	PongWait           Duration `key:"pong_wait" min:"100ms" max:"5m" doc:"For the answer to a ping, from the last progress of the socket."`
	Stalled            Duration `key:"stalled" min:"1s" max:"1h" doc:"Without a byte accepted or sent before a session is closed."`
	ResumeWindow       Duration `key:"resume_window" min:"1s" max:"720h" doc:"How far back a client without the history right may resume."`
	Drain              Duration `key:"drain" min:"1s" max:"1h" doc:"From SIGTERM to the end of the process."`
	DrainSpread        Duration `key:"drain_spread" min:"1ms" max:"1h" doc:"Clients are told to come back at a random time within it."`
}

// Default is the configuration of `carillon serve` without a file.
func Default() *Config {
	return &Config{
		Listen:  "127.0.0.1:8080",
		Admin:   Admin{Listen: "127.0.0.1:8081", TLS: TLS{MinVersion: "1.2"}},
		TLS:     TLS{MinVersion: "1.2"},
		DataDir: "data",

		TrustedHeader: "auto", Compress: "on", Unsupervised: Deny,

		Log:    Log{Level: "info", Format: "text"},
		Limits: defaultLimits(),
		Auth:   Auth{Plugin: None, OnFailure: Deny, LastKnownGood: Duration(10 * time.Minute), StartTimeout: Duration(10 * time.Second), CrashBudget: 20, CrashWindow: Duration(10 * time.Minute), Rlimit: noRlimit, Shadow: Shadow{Plugin: None}, Anonymous: "deny"},
		Store:  Store{Plugin: "store-bolt", OnFailure: "wait", StartTimeout: Duration(time.Minute), CrashBudget: 20, CrashWindow: Duration(10 * time.Minute), Rlimit: noRlimit},
	}
}

var noRlimit = Rlimit{Memory: Unlimited, AddressSpace: Unlimited, OpenFiles: Unlimited, CPUSeconds: Unlimited, Processes: Unlimited}

func defaultLimits() Limits {
	return Limits{
		Payload: 64 * KiB, Headers: 4 * KiB, Ring: 64 * MiB, Pending: 64 * KiB, Inflight: 64,
		Subscriptions: 128, SubscribeRate: 20, SubscribeBurst: 128,
		PublishRate: 50, PublishBurst: 100, PublishBytes: 256 * KiB, PingRate: 10,
		AcceptRate: 2000, AcceptBurst: 2000, Sessions: 100_000, SessionsPerUser: 100, SessionsPerAddress: 200, SubscriptionsTotal: 2_000_000,
		Retained: 1_000_000, RetainedBytes: 512 * MiB, StorePending: 32 * MiB, MessageIDs: 4_000_000,
		AuthTimeout: Duration(2 * time.Second), StoreTimeout: Duration(5 * time.Second), ConnectTimeout: Duration(10 * time.Second),
		PingEvery: Duration(25 * time.Second), PongWait: Duration(10 * time.Second), Stalled: Duration(90 * time.Second),
		ResumeWindow: Duration(10 * time.Minute), Drain: Duration(30 * time.Second), DrainSpread: Duration(10 * time.Second),
	}
}

// The words of auth.on_failure and unsupervised.
const (
	Deny          = "deny"
	Allow         = "allow"
	LastKnownGood = "last_known_good"
)

// None is the word for a plugin or a listener that is not wanted.
const None = "none"

// Bundled names the plugins that are part of this executable, by kind.
var Bundled = map[string][]string{"auth": {"auth-jwt", "auth-http"}, "store": {"store-bolt"}}
