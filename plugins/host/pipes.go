package host

import "os"

// pipes are the three between host and plugin.
type pipes struct {
	childIn, childOut, childErr *os.File // the plugin's ends
	lifeline, out, err          *os.File // the host's ends
}

func openPipes() (p *pipes, err error) {
	p = &pipes{}
	if p.childIn, p.lifeline, err = os.Pipe(); err == nil {
		if p.out, p.childOut, err = os.Pipe(); err == nil {
			p.err, p.childErr, err = os.Pipe()
		}
	}
	if err != nil {
		p.closeChildEnds()
		p.closeOurEnds()
		return nil, err
	}
	return p, nil
}

func (p *pipes) closeChildEnds() {
	for _, f := range []*os.File{p.childIn, p.childOut, p.childErr} {
		f.Close() // a nil *os.File answers with an error
	}
}

func (p *pipes) closeOurEnds() {
	for _, f := range []*os.File{p.lifeline, p.out, p.err} {
		f.Close()
	}
}
