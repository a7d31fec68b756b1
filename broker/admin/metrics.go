package admin

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/carillon-mq/carillon/broker"
)

// The metrics. Their names are a promise to dashboards; no label is ever a topic, a user or a session.
var (
	sessions      = desc("sessions", "Sessions that are open.")
	subscriptions = desc("subscriptions", "Subscriptions of all sessions.")
	lagging       = desc("sessions_lagging", "Sessions that are behind and read the log from a cursor of their own.")
	lagEntries    = desc("lag_entries_max", "Messages that the session furthest behind has not read yet, of all topics.")
	lagSeconds    = desc("lag_seconds_max", "How old the next of them is.")
	draining      = desc("drain_sessions", "Sessions still open while the broker drains.")
	published     = desc("messages_published_total", "Messages accepted, by the class of their topic.", "class")
	delivered     = desc("messages_delivered_total", "Messages handed to sessions.")
	saved         = desc("compression_saved_bytes_total", "Bytes that were not sent because payloads were compressed.")
	gaps          = desc("gaps_total", "Gaps that subscribers were told of, by reason.", "reason")
	rejected      = desc("rejected_total", "Requests and sessions refused, by code.", "code")

	acceptsDelayed = desc("accepts_delayed_total", "Connections that were accepted later, because too many came in a short time.")

	publishSeconds = desc("publish_seconds", "From accepting a publish to its acknowledgement.")
	commitSeconds  = desc("store_commit_seconds", "From accepting a publish that the store commits to its acknowledgement.")

	ringBytes      = desc("ring_bytes", "Memory of the recent messages from which clients resume.")
	ringEntries    = desc("ring_entries", "Recent messages from which clients resume.")
	ringSeconds    = desc("ring_seconds", "How far back they reach.")
	retainedTopics = desc("retained_topics", "Topics with a retained message.")
	retainedBytes  = desc("retained_bytes", "Memory of the retained messages, overhead included.")
	members        = desc("presence_members", "Members of topics, each user once in each; those included whose connection was lost a moment ago.")
	messageIDs     = desc("message_ids", "Message ids of the last minutes, but for those that the store knows.")
	revocations    = desc("revocations", "Users and tokens that are revoked.")
	revocationsUp  = desc("revocations_up", "1 while the stream of revocations is open.")
	revoked        = desc("revocations_received_total", "Revocations received of the auth plugin.")
	revokedForgot  = desc("revocations_forgotten_total", "Revocations given up before their end, because there were too many.")
	revokedClosed  = desc("sessions_revoked_total", "Sessions closed by a revocation.")
	storeUp        = desc("store_up", "1 while the feed of the store is connected, or without a store.")
	storeBreaker   = desc("store_breaker_open", "1 while what the store would have to commit is refused at once, because it gives no answer.")
	storeFaults    = desc("store_faults_total", "Answers of the store that broke its contract and were not delivered.")
	storeWaiting   = desc("store_waiting_bytes", "Publishes that wait for the store.")

	buildInfo = desc("build_info", "1, with the version of the broker.", "version")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("carillon_"+name, help, labels, nil)
}

// newRegistry has the broker's metrics, and those of the Go runtime and the process.
func newRegistry(b Broker, o Options) (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		&collector{b: b, opt: o, statistics: statistics{store: o.Store}},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// collector reads the broker's figures when they are asked for; nothing is counted twice.
type collector struct {
	b          Broker
	opt        Options
	statistics statistics
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		sessions, subscriptions, lagging, lagEntries, lagSeconds, draining, published, delivered, saved, gaps, rejected, acceptsDelayed, publishSeconds, commitSeconds, ringBytes,
		ringEntries, ringSeconds, retainedTopics, retainedBytes, members, messageIDs, revocations, revocationsUp, revoked, revokedForgot, revokedClosed, storeUp, storeBreaker, storeFaults, storeWaiting, buildInfo,
	} {
		ch <- d
	}
	for _, d := range slices.Concat(storeDescs, pluginDescs) {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.b.Stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	histogram := func(d *prometheus.Desc, h broker.Histogram) {
		ch <- prometheus.MustNewConstHistogram(d, h.Count, h.Sum, h.Buckets)
	}

	gauge(sessions, float64(s.Sessions))
	gauge(subscriptions, float64(s.Subscriptions))
	gauge(lagging, float64(s.Lagging))
	gauge(lagEntries, float64(s.LagEntries))
	gauge(lagSeconds, s.LagSpan.Seconds())
	gauge(draining, float64(s.DrainSessions))
	for class, n := range s.Published {
		counter(published, n, class.String())
	}
	counter(delivered, s.Delivered)
	counter(saved, s.Saved)
	for reason, n := range s.Gaps {
		counter(gaps, n, string(reason))
	}
	for code, n := range s.Rejected {
		counter(rejected, n, code.String())
	}
	counter(acceptsDelayed, c.opt.delayed())
	histogram(publishSeconds, s.PublishSeconds)
	histogram(commitSeconds, s.StoreCommitSeconds)
	gauge(ringBytes, float64(s.RingBytes))
	gauge(ringEntries, float64(s.RingEntries))
	gauge(ringSeconds, s.RingSpan.Seconds())
	gauge(retainedTopics, float64(s.RetainedTopics))
	gauge(retainedBytes, float64(s.RetainedBytes))
	gauge(members, float64(s.Members))
	gauge(messageIDs, float64(s.MessageIDs))
	gauge(revocations, float64(s.Revocations))
	gauge(revocationsUp, oneIf(s.RevocationsUp))
	counter(revoked, s.Revoked)
	counter(revokedForgot, s.RevokedForgot)
	counter(revokedClosed, s.RevokedSessions)
	gauge(storeUp, oneIf(s.StoreUp))
	gauge(storeBreaker, oneIf(s.StoreBroken))
	counter(storeFaults, s.StoreFaults)
	gauge(storeWaiting, float64(s.StoreWaitBytes))
	c.collectPlugins(ch)
	gauge(buildInfo, 1, c.opt.Version)
	c.collectStore(ch)
}

func (o *Options) delayed() uint64 {
	if o.AcceptsDelayed == nil {
		return 0
	}
	return o.AcceptsDelayed()
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
