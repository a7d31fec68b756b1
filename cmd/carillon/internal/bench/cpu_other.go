//go:build !linux

package bench

import (
	"errors"
	"time"
)

// cpuOf is not known here.
func cpuOf(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

// sleepUntil lets the client's clock come to ns.
func sleepUntil(ns int64) { time.Sleep(time.Duration(ns - clock())) }
