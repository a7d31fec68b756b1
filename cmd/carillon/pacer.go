package main

import "time"

// pacer spaces publishes so that a broker's limit of publishes per second is never met: a bucket of one second's worth that is
// filled a little slower than the broker's. The zero value does not hold back.
type pacer struct {
	perSecond float64
	left      float64
	at        time.Time // when left was true
}

// paceMargin is for the ways of the two clocks to differ.
const paceMargin = 0.95

// newPacer holds back to perSecond; 0 is no limit.
func newPacer(perSecond int64) pacer {
	return pacer{perSecond: float64(perSecond) * paceMargin, left: float64(perSecond)}
}

// wait is how long to wait before the next publish, which it counts.
func (p *pacer) wait(now time.Time) time.Duration {
	if p.perSecond == 0 {
		return 0
	}
	if !p.at.IsZero() {
		p.left = min(p.perSecond, p.left+now.Sub(p.at).Seconds()*p.perSecond)
	}
	p.at = now
	p.left--
	if p.left >= 0 {
		return 0
	}
	return time.Duration(-p.left / p.perSecond * float64(time.Second))
}
