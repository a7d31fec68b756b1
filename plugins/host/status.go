package host

import "time"

// State is where a plugin is in its life.
type State uint8

// The states of a plugin. It goes from Starting to Ready, Backoff or Failed, from Ready to Degraded and back, from both to Backoff
// or Failed, from Backoff and Failed to Starting, and from any of them over Stopping to Stopped. Attached takes the place of Ready where
// Spec.Attach is set.
const (
	Starting State = iota + 1 // the process is being started and configured
	Ready                     // it answers
	Degraded                  // it is called and is not well: it missed a health check, was slow at one, said that it cannot work, stands still, or has just ended
	Backoff                   // it ended or did not start; the next start waits
	Failed                    // its configuration or its file was refused, or it ended too often; RetryAt is zero if only a reload brings it back
	Stopping                  // the host is closing and has asked it to end
	Stopped                   // the host is closed
	Attached                  // Ready, and started by somebody else: nobody watches over its process
)

// String is the state's name in lists and metrics.
func (s State) String() string {
	switch s {
	case Starting:
		return "starting"
	case Ready:
		return "ready"
	case Degraded:
		return "degraded"
	case Backoff:
		return "backoff"
	case Failed:
		return "failed"
	case Stopping:
		return "stopping"
	case Stopped:
		return "stopped"
	case Attached:
		return "attached"
	}
	return "unknown"
}

// Up reports whether the plugin is called in this state.
func (s State) Up() bool { return s == Ready || s == Degraded || s == Attached }

// Status describes a plugin at one moment.
type Status struct {
	Name         string // of the Spec
	Kind         string
	Shadow       bool   // it is the candidate beside the auth plugin, and decides nothing
	Plugin       string // name that the plugin gives itself; known after its first Describe
	Version      string
	Capabilities []string

	ContractVersions []uint32 // known with Plugin, as is ConfigSchema
	ConfigSchema     string   // JSON Schema of its configuration; empty: it takes any object

	Bundled     bool
	Attach      string // where it listens, if somebody else has started it; of the Spec
	State       State
	Since       time.Time // when the State began
	PID         int       // 0: no process
	Restarts    int       // starts after the first one, those in another's place not counted
	Reloads     int       // times that another process has taken this one's place without an end of the service
	LastError   string    // why it last ended or did not start; printable, at most 1 KiB. A Reload that succeeds forgets it
	LastErrorAt time.Time // when that was; zero without a LastError
	Trouble     string    // why it is Degraded; empty in every other state. Printable, at most 1 KiB
	ReloadError string    // why the last Reload was not carried out; empty when it was. Printable, at most 1 KiB
	Detail      string    // what the plugin last said about its health; printable, at most 1 KiB
	RetryAt     time.Time // when the next start is due; zero unless the State is Backoff or Failed
}
