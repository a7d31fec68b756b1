//go:build !linux

package bench

import (
	"context"
	"errors"
)

// split finds that no connection can be polled here.
func split(conns []*conn) (raw [][]*conn, plain []*conn) { return nil, conns }

func (*pump) poll(context.Context, []*conn) error { return errors.ErrUnsupported }
