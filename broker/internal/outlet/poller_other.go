//go:build !linux

package outlet

// Poller has no connections here: each is read by a goroutine.
type Poller struct{ runners }

// Add reports false: o needs a goroutine.
func (p *Poller) Add(*Place, *Outlet, Reader) bool { return false }

// Ignore has nobody told of what comes.
func (p *Poller) Ignore(*Place) {}

// Watch ends that.
func (p *Poller) Watch(*Place) {}

// Remove forgets a connection.
func (p *Poller) Remove(*Place) {}

// Stop ends the Poller.
func (p *Poller) Stop() {}
