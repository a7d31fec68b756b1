package ring

import "unsafe"

// Extra is what few messages have. It is apart from the entry, so that those of the others are small, and does not change once its
// message is in the log.
type Extra struct {
	Receipt Receipt // nil: nobody asked how many received it
	Exclude string  // the origin whose sessions are not sent it ([PUB-14]); "": none
}

const extraOverhead = int64(unsafe.Sizeof(Extra{}))

// cost is what the log is charged for x.
func (x *Extra) cost() int64 {
	if x == nil {
		return 0
	}
	return extraOverhead + int64(len(x.Exclude))
}

// Excludes reports whether the sessions of origin are not sent e; "" is nobody's.
func (e *Entry) Excludes(origin string) bool {
	return e.Extra != nil && origin != "" && e.Extra.Exclude == origin
}

// Receipt is who is told how e comes to those who are there; nil: nobody.
func (e *Entry) Receipt() Receipt {
	if e.Extra == nil {
		return nil
	}
	return e.Extra.Receipt
}
