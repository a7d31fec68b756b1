// Package admin is the operators' HTTP door, on a listener of its own: probes, metrics and the state of the plugins. What it
// changes is that a plugin is reloaded. It asks for no token: whoever reaches the listener may do that. Its caller opens the listener.
package admin

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/webrules"
	"github.com/carillon-mq/carillon/protocol"
)

// Broker is what the door needs of the core. *broker.Broker is one.
type Broker interface {
	Ready() error
	Stats() broker.Stats
}

var _ Broker = (*broker.Broker)(nil)

// Options are the door's settings.
type Options struct {
	Hosts   []string        // names the listener is reached by, beside loopback and IP addresses
	Listen  []string        // HOST:PORT of the listener
	Plugins func() []Plugin // nil: none
	// Reload puts another process in the place of the plugin of that name, with its settings as they are in the configuration now.
	// ErrNoPlugin is for a name that none has. nil: no plugin is ever reloaded.
	Reload  func(ctx context.Context, name string) error
	Version string // of the broker
	// AcceptsDelayed counts the connections to the public listener that were accepted later. nil: none ever is.
	AcceptsDelayed func() uint64
	Store          broker.StatisticsReader // whose figures are among the metrics; nil: none
}

// Handler serves the admin listener. It is safe for concurrent use.
type Handler struct {
	b       Broker
	opt     Options
	rules   *webrules.Rules
	metrics http.Handler
}

// New makes the door to b.
func New(b Broker, o Options) (*Handler, error) {
	rules, err := webrules.New(webrules.Options{Hosts: o.Hosts, Listen: o.Listen})
	if err != nil {
		return nil, err
	}
	if o.Plugins == nil {
		o.Plugins = func() []Plugin { return nil }
	}
	registry, err := newRegistry(b, o)
	if err != nil {
		return nil, err
	}
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	return &Handler{b: b, opt: o, rules: rules, metrics: metrics}, nil
}

// ServeHTTP answers every path of the listener.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.guard(w, r); err != nil {
		webrules.WriteProblem(w, r, err)
		return
	}
	path := r.URL.EscapedPath()
	if name, ok := reloadPath(path); ok {
		h.reload(w, r, name)
		return
	}
	if name, ok := pluginPath(path); ok {
		h.describe(w, r, name)
		return
	}
	switch path {
	case "/livez":
		writeText(w, "alive\n")
	case "/readyz":
		h.readyz(w, r)
	case "/metrics":
		h.metrics.ServeHTTP(w, r)
	case "/v1/admin/plugins":
		writeJSON(w, map[string]any{"plugins": h.plugins()})
	default:
		webrules.WriteProblem(w, r, protocol.Errorf(protocol.CodeNotFound, "nothing is served under this path").
			WithHint("/livez, /readyz, /metrics and /v1/admin/plugins are"))
	}
}

// guard lets nobody in through a browser: not by a name that was made to resolve to this machine, not from a page.
func (h *Handler) guard(w http.ResponseWriter, r *http.Request) *protocol.Error {
	if err := h.rules.CheckHost(r); err != nil {
		return err
	}
	if err := h.rules.CheckOrigin(r); err != nil {
		return err.WithHint("no page of another origin may use the admin listener, and no setting lets it; ask from a program, or open the page at the listener's own address")
	}
	if _, reload := reloadPath(r.URL.EscapedPath()); reload {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", "POST")
			return protocol.Errorf(protocol.CodeMethodNotAllowed, "found method %.20q, only POST is served here", r.Method)
		}
		return nil
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return protocol.Errorf(protocol.CodeMethodNotAllowed, "found method %.20q, only GET is served here", r.Method)
	}
	return nil
}

// readyz is 200 when the broker serves everything, and 503 with the reason while it starts or drains.
func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	if err := h.b.Ready(); err != nil {
		webrules.WriteProblem(w, r, protocol.Errorf(protocol.CodeNotReady, "%v", err))
		return
	}
	writeText(w, "ready\n")
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(text)) // the client has gone: nobody is left to tell
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody is left to tell
}
