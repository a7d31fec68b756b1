package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Unlimited is the value of a Count or Size that was written "unlimited".
const Unlimited = -1

// Units of a Size.
const (
	KiB Size = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

var sizeUnits = []struct {
	name string
	size Size
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// Size is a number of bytes, written with a unit: 64KiB, 512MiB, 100B.
type Size int64

// UnmarshalText reads a size. A bare number other than 0 is an error: the unit decides whether it is too small by a thousand.
func (s *Size) UnmarshalText(text []byte) error {
	t := string(text)
	if t == "unlimited" {
		*s = Unlimited
		return nil
	}
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(t, u.name)
		if !ok {
			continue
		}
		n, err := parseCount(strings.TrimSpace(digits))
		if err != nil && !errors.Is(err, errTooLarge) {
			break
		}
		if err != nil || n > math.MaxInt64/int64(u.size) {
			return fmt.Errorf("%q is %w", t, errTooLarge)
		}
		*s = Size(n) * u.size
		return nil
	}
	n, err := parseCount(t)
	switch {
	case err == nil && n == 0:
		*s = 0
		return nil
	case err == nil:
		return fmt.Errorf("%q has no unit; write %sB, %sKiB or %sMiB", t, t, t, t)
	}
	return fmt.Errorf("%q is not a size; write a whole number and a unit, such as 64KiB or 512MiB", t)
}

// String writes the size in the largest unit that keeps it whole.
func (s Size) String() string {
	if s == Unlimited {
		return "unlimited"
	}
	for _, u := range sizeUnits {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return "0B"
}

// Count is a whole number.
type Count int64

// UnmarshalText reads a count in decimal digits.
func (c *Count) UnmarshalText(text []byte) error {
	if string(text) == "unlimited" {
		*c = Unlimited
		return nil
	}
	n, err := parseCount(string(text))
	*c = Count(n)
	return err
}

// String is the decimal form.
func (c Count) String() string {
	if c == Unlimited {
		return "unlimited"
	}
	return strconv.FormatInt(int64(c), 10)
}

var (
	errTooLarge = errors.New("too large")
	errNotWhole = errors.New("want a whole number")
)

func parseCount(text string) (int64, error) {
	if text == "" || strings.TrimLeft(text, "0123456789_") != "" || text[0] == '_' {
		return 0, fmt.Errorf("is %q, %w", text, errNotWhole)
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is %w", text, errTooLarge)
	}
	return n, nil
}

// Duration is a time span, written with units: 250ms, 10s, 1h30m.
type Duration time.Duration

// UnmarshalText reads a duration. A bare number other than 0 is an error.
func (d *Duration) UnmarshalText(text []byte) error {
	t := string(text)
	if n, err := parseCount(t); err == nil && n != 0 {
		return fmt.Errorf("%q has no unit; write %sms, %ss or %sm", t, t, t, t)
	}
	v, err := time.ParseDuration(t)
	if days, ok := strings.CutSuffix(t, "d"); err != nil && ok {
		if n, err := parseCount(days); err == nil && n <= 10_000 {
			return fmt.Errorf("%q: days are written in hours; write %dh", t, 24*n)
		}
	}
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number and a unit, such as 250ms, 10s or 1h30m", t)
	}
	*d = Duration(v)
	return nil
}

// String drops the zero units that time.Duration writes.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Opaque is a part of the configuration that belongs to somebody else: a JSON object, or nil.
type Opaque json.RawMessage
