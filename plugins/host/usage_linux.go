package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// clockTicks is the unit of times in /proc, USER_HZ: the same on every Linux that Go runs on.
const clockTicks = 100

// usageOf measures the process and those below it. A process that ends meanwhile is left out.
func usageOf(pid int) Usage {
	var u Usage
	for tree := []int{pid}; len(tree) > 0 && u.Processes < maxTree; tree = tree[1:] {
		if !u.add(tree[0]) {
			continue
		}
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", tree[0])) // there is no bad pattern in it
		for _, list := range lists {
			children, err := os.ReadFile(list)
			if err != nil {
				continue // the thread has ended
			}
			for field := range bytes.FieldsSeq(children) {
				if child, err := strconv.Atoi(string(field)); err == nil {
					tree = append(tree, child)
				}
			}
		}
	}
	return u
}

// add adds what one process takes, and reports whether there is one.
func (u *Usage) add(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The name, in parentheses, may hold anything: the fields are counted from its end. See proc_pid_stat(5).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return false
	}
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(string(fields[i-3]), 10, 64) // the kernel's numbers are numbers
		return n
	}
	ticks := number(14) + number(15) + number(16) + number(17) // utime, stime, cutime, cstime
	u.CPU += time.Duration(ticks) * time.Second / clockTicks
	u.Memory += number(24) * int64(os.Getpagesize())
	u.Processes++
	return true
}
