package host

import "context"

// Check starts the plugin of spec as far as it says what it is, holds its configuration against the schema that it names, and ends it: it
// is given no configuration, so it opens nothing. It returns what a start would be refused for, and nothing of one that somebody else has
// started (Attach). It has the time of a start, and StopTimeout to end.
func (h *Host) Check(ctx context.Context, spec Spec) error {
	if err := spec.check(); err != nil {
		return err
	}
	if spec.attached() {
		return nil
	}
	p := newSupervised(h, spec)
	in := p.newInstance(spec, p.output)
	err := in.within(ctx, in.prepare)
	p.stop(ctx, in, err == nil, errClosed)
	return err
}

// Description is what a plugin says of itself. Its texts are printable, but for the schema.
type Description struct {
	Name, Version, Kind string
	ContractVersions    []uint32
	Capabilities        []string
	ConfigSchema        string // as it came: JSON, if it keeps the contract; empty is any object
}

// Describe starts the plugin of spec as far as it says what it is, whatever that is, and ends it. It looks neither at spec's Kind nor at
// its Config. Otherwise it is Check.
func (h *Host) Describe(ctx context.Context, spec Spec) (Description, error) {
	if err := spec.check(); err != nil {
		return Description{}, err
	}
	p := newSupervised(h, spec)
	in := p.newInstance(spec, p.output)
	var said Description
	err := in.within(ctx, func(ctx context.Context) error {
		err := in.launch(ctx)
		if err == nil {
			said, err = in.says(ctx)
		}
		return err
	})
	p.stop(ctx, in, err == nil, errClosed)
	return said, err
}
