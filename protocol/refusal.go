package protocol

import "time"

// ErrorPacket is the answer to a request that failed; the session goes on ([ERR-1]).
type ErrorPacket struct {
	ID         uint64 // of the request; 0: of none
	Code       Code
	Name       string // of the code; Append fills it in if it is empty
	Detail     string
	Hint       string
	RetryAfter time.Duration // whole milliseconds; 0: not known
}

// Type is TypeError.
func (*ErrorPacket) Type() Type { return TypeError }

// Append implements Packet.
func (p *ErrorPacket) Append(b []byte) []byte {
	opts := count(p.Hint != "", p.RetryAfter > 0)
	e := begin(b, TypeError, 4, opts)
	e.uintOrNil(p.ID)
	e.uint(uint64(p.Code))
	e.str(plain(nameOf(p.Code, p.Name)))
	e.str(plain(p.Detail))
	e.options(opts)
	e.text("hint", plain(p.Hint))
	if p.RetryAfter > 0 {
		e.key("retry_after")
		e.millis(p.RetryAfter)
	}
	return e.end()
}

// Decode reads r into p.
func (p *ErrorPacket) Decode(r Raw) error {
	*p = ErrorPacket{}
	d := r.open(TypeError)
	if !d.null() {
		p.ID = d.id("id")
	}
	p.Code = d.code("code")
	p.Name = d.str("name")
	p.Detail = d.str("detail")
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "hint":
			p.Hint = d.str("hint")
		case "retry_after":
			p.RetryAfter = d.millis("retry_after")
		default:
			d.skip()
		}
	}
	return d.finish()
}

// Err is p as an error.
func (p *ErrorPacket) Err() *Error {
	return &Error{Code: p.Code, Detail: p.Detail, Hint: p.Hint, RetryAfter: p.RetryAfter}
}

// Disconnect is the server's last packet: why the session ends, and what the client is to do ([DIS-1]).
type Disconnect struct {
	Code      Code
	Name      string // of the code; Append fills it in if it is empty
	Detail    string
	Hint      string
	Reconnect bool
	After     time.Duration // whole milliseconds before the first attempt; 0: the client's own choice
}

// Type is TypeDisconnect.
func (*Disconnect) Type() Type { return TypeDisconnect }

// Append implements Packet. It always says whether to reconnect.
func (p *Disconnect) Append(b []byte) []byte {
	opts := count(true, p.After > 0, p.Hint != "")
	e := begin(b, TypeDisconnect, 3, opts)
	e.uint(uint64(p.Code))
	e.str(plain(nameOf(p.Code, p.Name)))
	e.str(plain(p.Detail))
	e.options(opts)
	e.key("reconnect")
	e.bool(p.Reconnect)
	if p.After > 0 {
		e.key("after")
		e.millis(p.After)
	}
	e.text("hint", plain(p.Hint))
	return e.end()
}

// Decode reads r into p. Without the option reconnect the code decides.
func (p *Disconnect) Decode(r Raw) error {
	*p = Disconnect{}
	d := r.open(TypeDisconnect)
	p.Code = d.code("code")
	p.Name = d.str("name")
	p.Detail = d.str("detail")
	p.Reconnect = p.Code.Retry()
	for o := d.options(); o.next(); {
		switch string(o.key) {
		case "reconnect":
			p.Reconnect = d.bool("reconnect")
		case "after":
			p.After = d.millis("after")
		case "hint":
			p.Hint = d.str("hint")
		default:
			d.skip()
		}
	}
	return d.finish()
}

// Err is p as an error.
func (p *Disconnect) Err() *Error {
	return &Error{Code: p.Code, Detail: p.Detail, Hint: p.Hint, RetryAfter: p.After}
}

func nameOf(c Code, name string) string {
	if name != "" {
		return name
	}
	return c.String()
}

func (d *decoder) code(field string) Code {
	v := d.uint(field)
	if v > 65535 {
		d.fail(CodeBadArgs, field, "a larger integer", "a code below 65536")
		return 0
	}
	return Code(v)
}
