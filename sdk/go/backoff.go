package carillon

import "time"

// stableAfter is how long a connection has to last before its loss starts the backoff from the beginning.
const stableAfter = 5 * time.Second

// backoff is exponential with full jitter: the n-th delay is uniform in [0, min(cap, base*2^n)).
type backoff struct {
	base, cap time.Duration
	rand      func() float64 // in [0, 1)
	attempt   int
}

func (b *backoff) next() time.Duration {
	ceiling := b.cap
	if b.attempt < 32 && b.base<<b.attempt > 0 {
		ceiling = min(b.cap, b.base<<b.attempt)
	}
	b.attempt++
	return time.Duration(b.rand() * float64(ceiling))
}

func (b *backoff) reset() { b.attempt = 0 }
