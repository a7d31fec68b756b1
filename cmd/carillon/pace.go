package main

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/front"
)

// pace has the public door accept connections no faster than limits.accept_rate. The admin door has no pace: who looks at a crowd is not to stand
// in it.
func (s *server) pace() {
	l := &s.cfg.Limits
	if l.AcceptRate == config.Unlimited {
		return
	}
	tell := rate.Sometimes{Interval: time.Minute}
	s.paced = front.NewPaced(s.public.listener, front.Pace{PerSecond: int(l.AcceptRate), Burst: int(l.AcceptBurst), Late: func() {
		tell.Do(func() {
			s.log.Warn("connections wait: more come than are accepted a second", "count", int(l.AcceptRate),
				"hint", "carillon_accepts_delayed_total counts them; after a restart this passes, otherwise look for clients that reconnect without a pause, or raise limits.accept_rate")
		})
	}})
	s.public.listener = s.paced
}
