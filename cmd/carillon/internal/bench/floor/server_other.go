//go:build !linux

package floor

import "errors"

// Serve does not work here: a floor writes without waiting by means that Linux has.
func Serve(func(addr string)) error { return errors.New("the floor needs Linux") }
