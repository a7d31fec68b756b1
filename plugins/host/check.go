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
