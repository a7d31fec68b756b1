package admin

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/webrules"
	"github.com/carillon-mq/carillon/protocol"
)

// ErrNoPlugin is the answer of Options.Reload for a name that no plugin has.
var ErrNoPlugin = errors.New("no plugin has this name")

// Plugin is one plugin process as it is shown.
type Plugin struct {
	Name        string    `json:"name"`
	Kind        string    `json:"kind"`             // auth or store
	Shadow      bool      `json:"shadow,omitempty"` // a candidate: it is asked and decides nothing
	Plugin      string    `json:"plugin,omitempty"` // its own name
	Version     string    `json:"version,omitempty"`
	Attach      string    `json:"attach,omitempty"` // where it listens, if somebody else has started it: nobody watches over its process
	State       string    `json:"state"`
	Up          bool      `json:"up"` // calls can be made
	PID         int       `json:"pid,omitempty"`
	Restarts    int       `json:"restarts"`
	Reloads     int       `json:"reloads"`
	Since       time.Time `json:"since"`                  // of State
	RetryAt     time.Time `json:"retry_at,omitzero"`      // of the next start
	LastError   string    `json:"last_error,omitempty"`   // why it last ended or did not start; a successful reload forgets it
	LastErrorAt time.Time `json:"last_error_at,omitzero"` // when that was
	ReloadError string    `json:"reload_error,omitempty"` // why the last reload was not carried out
	Trouble     string    `json:"trouble,omitempty"`      // why it is degraded
	Detail      string    `json:"detail,omitempty"`       // its own word about its health
	Breaker     string    `json:"breaker,omitempty"`      // "open": the store gives no answer, what it would have to commit is refused

	Memory     int64   `json:"memory_bytes,omitempty"` // of its processes; 0: not known
	CPUSeconds float64 `json:"cpu_seconds,omitempty"`
	Processes  int     `json:"processes,omitempty"`

	OnFailure string `json:"on_failure,omitempty"` // what happens while it gives no answers, in the words of the configuration; a candidate has none
	Guard     *Guard `json:"guard,omitempty"`      // of an auth plugin

	Compared *Comparison  `json:"compared,omitempty"` // of a candidate
	Calls    []PluginCall `json:"-"`
	Says     Description  `json:"-"`
}

// Description is the rest of what a plugin says of itself. It is shown of one plugin at a time.
type Description struct {
	ContractVersions []uint32        `json:"contract_versions,omitempty"`
	Capabilities     []string        `json:"capabilities,omitempty"`
	ConfigSchema     json.RawMessage `json:"config_schema,omitempty"` // of its configuration; absent: it takes any object
}

// DescribedPlugin is a plugin with what it says of itself.
type DescribedPlugin struct {
	Plugin
	Description
}

// Guard is how an auth plugin answers, and what stood in for that. The counters only grow.
type Guard struct {
	Hangs      bool   `json:"hangs"`      // it is not asked just now, because it has left questions without an answer
	Remembered int    `json:"remembered"` // answers that could stand in
	Recalled   uint64 `json:"recalled"`   // logins that they were given to
	Undecided  uint64 `json:"undecided"`  // logins and questions about rights without a decision
}

// PluginCall is how long one call of a plugin took.
type PluginCall struct {
	Call    string
	Seconds broker.Histogram
	Errors  uint64
}

// Comparison counts the answers of a candidate.
type Comparison struct {
	Answers     uint64 `json:"answers"`     // that were compared
	Differences uint64 `json:"differences"` // of these: that are not the plugin's
	Failed      uint64 `json:"failed"`      // it had no decision
	Dropped     uint64 `json:"dropped"`     // it was not asked: it is too slow
}

// reloadPath is the name in /v1/admin/plugins/{name}/reload.
func reloadPath(escaped string) (name string, ok bool) {
	name, ok = strings.CutPrefix(escaped, "/v1/admin/plugins/")
	if !ok {
		return "", false
	}
	if name, ok = strings.CutSuffix(name, "/reload"); !ok {
		return "", false
	}
	name, err := url.PathUnescape(name)
	return name, err == nil
}

// pluginPath is the name in /v1/admin/plugins/{name}.
func pluginPath(escaped string) (name string, ok bool) {
	name, ok = strings.CutPrefix(escaped, "/v1/admin/plugins/")
	if !ok || name == "" || strings.Contains(name, "/") {
		return "", false
	}
	name, err := url.PathUnescape(name)
	return name, err == nil
}

// describe answers with one plugin, by the name that it has here, by its kind, or by the name that it gives itself.
func (h *Handler) describe(w http.ResponseWriter, r *http.Request, name string) {
	list := h.plugins()
	for _, is := range []func(p Plugin) bool{
		func(p Plugin) bool { return p.Name == name },
		func(p Plugin) bool { return p.kind() == name },
		func(p Plugin) bool { return p.Plugin == name && !p.Shadow },
	} {
		if i := slices.IndexFunc(list, is); i >= 0 {
			writeJSON(w, DescribedPlugin{list[i], list[i].Says})
			return
		}
	}
	webrules.WriteProblem(w, r, noPlugin(name))
}

func noPlugin(name string) *protocol.Error {
	return protocol.Errorf(protocol.CodeNotFound, "%v: %.80q", ErrNoPlugin, name).
		WithHint("carillon plugin list shows the names; a kind, such as auth, is one too")
}

// kind is the plugin's among all: a candidate's is its own.
func (p *Plugin) kind() string {
	if p.Shadow {
		return p.Kind + "-shadow"
	}
	return p.Kind
}

// plugins are the plugins as the host sees them, with what the broker has found of the store.
func (h *Handler) plugins() []Plugin {
	list := append([]Plugin{}, h.opt.Plugins()...)
	for i := range list {
		if list[i].Kind == "store" && h.b.Stats().StoreBroken {
			list[i].Breaker = "open"
		}
	}
	return list
}

// reload answers when the plugin has been replaced, with how it is now, or with why it was not.
func (h *Handler) reload(w http.ResponseWriter, r *http.Request, name string) {
	if h.opt.Reload == nil {
		webrules.WriteProblem(w, r, protocol.Errorf(protocol.CodeNotFound, "no plugin can be reloaded here"))
		return
	}
	err := h.opt.Reload(r.Context(), name)
	switch {
	case errors.Is(err, ErrNoPlugin):
		webrules.WriteProblem(w, r, noPlugin(name))
	case err != nil:
		webrules.WriteProblem(w, r, protocol.Errorf(protocol.CodeUnavailable, "the plugin was not replaced: %v", err).
			WithHint("the settings before stay in force; mend what is wrong and reload again"))
	default:
		writeJSON(w, map[string]any{"plugins": h.plugins()})
	}
}

var (
	pluginInfo      = desc("plugin_info", "1, with what the plugin calls itself, and what happens while it gives no answers.", "kind", "name", "version", "on_failure")
	pluginUp        = desc("plugin_up", "1 while the plugin is called.", "kind")
	pluginAttached  = desc("plugin_attached", "1 while it is one that somebody else has started and nobody watches over.", "kind")
	pluginDegraded  = desc("plugin_degraded", "1 while it is called and is not well.", "kind")
	pluginRestarts  = desc("plugin_restarts_total", "Starts of the plugin after its first.", "kind")
	pluginReloads   = desc("plugin_reloads_total", "Times that another process has taken its place without an end of the service.", "kind")
	pluginMemory    = desc("plugin_memory_bytes", "Resident memory of the plugin's processes.", "kind")
	pluginCPU       = desc("plugin_cpu_seconds_total", "Time that the plugin's processes have computed.", "kind")
	pluginProcesses = desc("plugin_processes", "Processes of the plugin.", "kind")
	pluginCall      = desc("plugin_call_seconds", "Calls of the plugin.", "kind", "call")
	pluginErrors    = desc("plugin_call_errors_total", "Calls without an answer that could be used; a refusal is an answer.", "kind", "call")

	shadowAnswers     = desc("plugin_shadow_compared_total", "Decisions of the candidate that were compared with the plugin's.", "kind")
	shadowDifferences = desc("plugin_shadow_differences_total", "Of these, those that are not the same.", "kind")
	shadowFailed      = desc("plugin_shadow_failed_total", "Questions that the candidate had no decision for.", "kind")
	shadowDropped     = desc("plugin_shadow_dropped_total", "Questions that the candidate was not asked, because it is too slow.", "kind")
)

var (
	pluginHangs      = desc("plugin_hangs", "1 while the plugin is not asked, because it has left questions without an answer.", "kind")
	pluginRemembered = desc("plugin_remembered", "Good answers of the plugin that could stand in for one that cannot be had.", "kind")
	pluginRecalled   = desc("plugin_recalled_total", "Logins that such an answer was given to.", "kind")
	pluginUndecided  = desc("plugin_undecided_total", "Logins and questions about rights for which no decision could be had.", "kind")
)

var pluginDescs = []*prometheus.Desc{
	pluginInfo, pluginUp, pluginAttached, pluginDegraded, pluginRestarts, pluginReloads, pluginMemory, pluginCPU, pluginProcesses, pluginCall, pluginErrors,
	pluginHangs, pluginRemembered, pluginRecalled, pluginUndecided, shadowAnswers, shadowDifferences, shadowFailed, shadowDropped,
}

// collectPlugins adds the figures of the plugins. There is at most one of a kind; a candidate's kind is its own.
func (c *collector) collectPlugins(ch chan<- prometheus.Metric) {
	for _, p := range c.opt.Plugins() {
		kind := p.kind()
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, kind)
		}
		counter := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, kind)
		}
		ch <- prometheus.MustNewConstMetric(pluginInfo, prometheus.GaugeValue, 1, kind, cmp.Or(p.Plugin, p.Name), p.Version, p.OnFailure)
		gauge(pluginUp, oneIf(p.Up))
		gauge(pluginAttached, oneIf(p.Attach != ""))
		gauge(pluginDegraded, oneIf(p.State == "degraded"))
		counter(pluginRestarts, float64(max(p.Restarts, 0)))
		counter(pluginReloads, float64(max(p.Reloads, 0)))
		if p.Processes > 0 {
			gauge(pluginMemory, float64(p.Memory))
			gauge(pluginProcesses, float64(p.Processes))
			counter(pluginCPU, p.CPUSeconds)
		}
		for _, call := range p.Calls {
			ch <- prometheus.MustNewConstHistogram(pluginCall, call.Seconds.Count, call.Seconds.Sum, call.Seconds.Buckets, kind, call.Call)
			ch <- prometheus.MustNewConstMetric(pluginErrors, prometheus.CounterValue, float64(call.Errors), kind, call.Call)
		}
		if g := p.Guard; g != nil {
			gauge(pluginHangs, oneIf(g.Hangs))
			gauge(pluginRemembered, float64(g.Remembered))
			counter(pluginRecalled, float64(g.Recalled))
			counter(pluginUndecided, float64(g.Undecided))
		}
		if s := p.Compared; s != nil {
			counter(shadowAnswers, float64(s.Answers))
			counter(shadowDifferences, float64(s.Differences))
			counter(shadowFailed, float64(s.Failed))
			counter(shadowDropped, float64(s.Dropped))
		}
	}
}
