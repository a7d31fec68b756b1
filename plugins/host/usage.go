package host

import (
	"slices"
	"time"
)

// Usage is what the processes of a plugin take of the machine: the one that was started and those below it, as far as the system
// says (Linux).
type Usage struct {
	Memory    int64         // resident bytes; pages that several of them share are counted for each
	CPU       time.Duration // used by them, and by those of their children that have ended
	Processes int           // 0: not known
}

// maxTree bounds how many processes of a plugin are looked at.
const maxTree = 256

// Figures are what was counted of a plugin.
type Figures struct {
	Status Status
	Usage  Usage
	Calls  []CallFigures
	Shadow *ShadowFigures // nil unless Status.Shadow
}

// Figures measures all plugins, in the order in which they were added.
func (h *Host) Figures() []Figures {
	h.mu.Lock()
	plugins := slices.Clone(h.plugins)
	h.mu.Unlock()
	all := make([]Figures, len(plugins))
	for i, p := range plugins {
		f := Figures{Status: p.Status(), Calls: p.calls.figures(), Shadow: p.candidate.Load().figures()}
		if f.Status.PID != 0 {
			f.Usage = usageOf(f.Status.PID)
		}
		all[i] = f
	}
	return all
}
