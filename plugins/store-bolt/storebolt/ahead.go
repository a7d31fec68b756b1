package storebolt

import (
	"math"
	"os"
)

// ahead writes zeros behind the last page that was ever used, some commits before they are needed. A page that is written for the first
// time has to be given a place on the disk, and the file system then writes that down too before fdatasync returns: for each commit,
// as long as the file grows. Only the committer uses it, while no transaction has taken a page.
type ahead struct {
	file    *os.File
	limit   int64 // of the file
	through int64 // zeros, or pages, were written up to here
}

const (
	aheadMost = 1 << 20 // bytes at a time; a small file gets a quarter of its size
	aheadPart = 4
)

var zeros [aheadMost]byte

// of sees to it that there are some behind used, where the pages end. When they can't be written there are none: the file grows without.
func (a *ahead) of(used int64) {
	some := min(used/aheadPart, aheadMost)
	if a.through-used >= some/2 {
		return
	}
	from, to := max(a.through, used), min(used+some, a.limit)
	if from >= to {
		return
	}
	if _, err := a.file.WriteAt(zeros[:to-from], from); err != nil {
		to = math.MaxInt64
	}
	a.through = to
}
