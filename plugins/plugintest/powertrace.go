package plugintest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// What a plugin writes is read from the output of strace, with every string in hexadecimal (-xx) and the path behind each descriptor (-y):
//
//	4711 pwrite64(7</tmp/x/log>, "\x7b\x22", 2, 4096) = 2
//	4711 fdatasync(7</tmp/x/log> <unfinished ...>
//	4712 <... fdatasync resumed>) = 0

// tracedCalls change files, or where a descriptor stands in its file. A machine need not know all of them.
const tracedCalls = "?open,?openat,?creat,?write,?pwrite64,?writev,?pwritev,?pwritev2,?read,?readv,?lseek,?ftruncate,?truncate,?fallocate," +
	"?fsync,?fdatasync,?sync,?syncfs,?msync,?rename,?renameat,?renameat2,?unlink,?unlinkat,?rmdir,?mkdir,?mkdirat,?link,?linkat,?symlink,?symlinkat," +
	"?mmap,?copy_file_range,?sendfile,?splice,?io_uring_setup,?io_submit,?openat2,?dup,?dup2,?dup3,?fcntl"

// traceArgs are strace's, before the plugin's path. Nobody wants to see what it reads.
func traceArgs(strace, trace string) []string {
	return []string{
		strace, "-f", "-y", "-xx", "-qq", "-s", "67108864", "-o", trace, "-e", "signal=none", "-e", "trace=" + tracedCalls, "-e", "raw=?read,?readv",
	}
}

// call is a line of a trace.
type call struct {
	name   string
	args   []string
	result string
	// start and end are how long the trace was when the call was made, and when it was done.
	start, end int64
}

// parseTrace returns the calls that were done, in the order of their ends. A line that is not whole, at the end, is not there.
func parseTrace(trace []byte) []call {
	type half struct {
		text  string
		start int64
	}
	begun := map[string]half{} // by thread
	var calls []call
	at := int64(0)
	for line := range bytes.Lines(trace) {
		start := at
		at += int64(len(line))
		text, whole := strings.CutSuffix(string(line), "\n")
		thread, text, ok := strings.Cut(text, " ")
		if !whole || !ok {
			continue
		}
		text = strings.TrimLeft(text, " ")
		if first, cut := strings.CutSuffix(text, "<unfinished ...>"); cut {
			begun[thread] = half{strings.TrimRight(first, " "), start}
			continue
		}
		if _, rest, resumed := strings.Cut(text, " resumed>"); resumed && strings.HasPrefix(text, "<... ") {
			text, start = begun[thread].text+rest, begun[thread].start
		}
		if c, ok := parseCall(text); ok {
			c.start, c.end = start, at
			calls = append(calls, c)
		}
	}
	return calls
}

func parseCall(text string) (c call, ok bool) {
	var rest string
	if c.name, rest, ok = strings.Cut(text, "("); !ok {
		return c, false
	}
	i := strings.LastIndex(rest, " = ")
	if i < 0 {
		return c, false
	}
	c.result = rest[i+3:]
	rest, ok = strings.CutSuffix(strings.TrimRight(rest[:i], " "), ")")
	c.args = splitArgs(rest)
	return c, ok && !strings.HasPrefix(c.result, "-1 ") && !strings.HasPrefix(c.result, "?")
}

// splitArgs cuts at the commas that are in no brackets.
func splitArgs(text string) (args []string) {
	depth, from := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '<', '[', '{':
			depth++
		case '>', ']', '}':
			depth--
		case ',':
			if depth == 0 {
				args, from = append(args, text[from:i]), i+2
			}
		}
	}
	return append(args, text[min(from, len(text)):])
}

func (c *call) arg(i int) string {
	if i >= len(c.args) {
		return ""
	}
	return c.args[i]
}

// fd is the descriptor that argument i or the result is, and the path behind it; "" if that has no name any more.
func fdOf(text string) (fd int64, path string) {
	number, rest, _ := strings.Cut(text, "<")
	fd, err := strconv.ParseInt(number, 0, 64)
	if err != nil {
		fd = -1
	}
	if path, named := strings.CutSuffix(rest, ">"); named {
		return fd, unhex(path)
	}
	return fd, ""
}

// number is argument i, or 0.
func (c *call) number(i int) int64 { return parseNumber(c.arg(i)) }

func parseNumber(text string) int64 {
	text, _, _ = strings.Cut(text, "<")
	n, _ := strconv.ParseInt(text, 0, 64) // what is none is 0
	return n
}

// data is argument i, bytes or a list of them, cut to what was taken.
func (c *call) data(i int) ([]byte, error) {
	text := c.arg(i)
	taken := parseNumber(c.result)
	if !strings.HasPrefix(text, "[") {
		text = "iov_base=" + text
	}
	var all []byte
	for part := range strings.SplitSeq(text, "iov_base=") {
		if quoted, rest, ok := strings.Cut(strings.TrimPrefix(part, `"`), `"`); ok {
			if strings.HasPrefix(rest, "...") {
				return nil, fmt.Errorf("strace has cut what %s wrote", c.name)
			}
			all = append(all, unhex(quoted)...)
		}
	}
	if int64(len(all)) < taken {
		return nil, fmt.Errorf("strace shows %d bytes of the %d that %s wrote", len(all), taken, c.name)
	}
	return all[:taken], nil
}

// unhex reads what -xx wrote; what is not like that stays as it is.
func unhex(text string) string {
	if !strings.HasPrefix(text, `\x`) {
		return text
	}
	b, err := hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
	if err != nil {
		return text
	}
	return string(b)
}
