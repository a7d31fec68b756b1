package host

import "time"

// State is where a plugin is in its life.
type State uint8

// The states of a plugin. It goes from Starting to Ready, Backoff or Failed, from Ready to Backoff, from Backoff to Starting, and
// from any of them over Stopping to Stopped.
const (
	Starting State = iota + 1 // the process is being started and configured
	Ready                     // it answers
	Backoff                   // it ended or did not start; the next start waits
	Failed                    // it will not be started again: its configuration or its file was refused
	Stopping                  // the host is closing and has asked it to end
	Stopped                   // the host is closed
)

// String is the state's name in lists and metrics.
func (s State) String() string {
	switch s {
	case Starting:
		return "starting"
	case Ready:
		return "ready"
	case Backoff:
		return "backoff"
	case Failed:
		return "failed"
	case Stopping:
		return "stopping"
	case Stopped:
		return "stopped"
	}
	return "unknown"
}

// Status describes a plugin at one moment.
type Status struct {
	Name         string // of the Spec
	Kind         string
	Plugin       string // name that the plugin gives itself; known after its first Describe
	Version      string
	Capabilities []string
	Bundled      bool
	State        State
	Since        time.Time // when the State began
	PID          int       // 0: no process
	Restarts     int       // starts after the first one
	LastError    string    // why it last ended or did not start; printable, at most 1 KiB
	Detail       string    // what the plugin last said about its health; printable, at most 1 KiB
	RetryAt      time.Time // when the next start is due; zero unless the State is Backoff
}
