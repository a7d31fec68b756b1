package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portHolder names the process that listens on the port of addr: through the socket's inode in /proc/net/tcp and the
// descriptors of every process that may be seen.
func portHolder(addr string) string {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "another process"
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "another process"
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		for _, inode := range listeningInodes(table, uint16(port)) {
			if holder, ok := inodeHolder(inode); ok {
				return holder
			}
		}
	}
	return "a process of another user"
}

// listeningInodes reads a table of the kernel: columns local address (hex address:hex port), state (0A is listening) and inode.
func listeningInodes(table string, port uint16) []string {
	f, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer f.Close()
	suffix := fmt.Sprintf(":%04X", port)
	var inodes []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && strings.HasSuffix(fields[1], suffix) && fields[3] == "0A" {
			inodes = append(inodes, fields[9])
		}
	}
	return inodes
}

// inodeHolder names the process that has a descriptor of the socket.
func inodeHolder(inode string) (string, bool) {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return "", false
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(link, "/")[2]
		return fmt.Sprintf("process %s (%s)", pid, commandOf(pid)), true
	}
	return "", false
}

// commandOf is the start of a process's command line.
func commandOf(pid string) string {
	line, err := os.ReadFile("/proc/" + pid + "/cmdline")
	if err != nil || len(line) == 0 {
		return "no longer there"
	}
	command := string(bytes.ReplaceAll(bytes.TrimRight(line, "\x00"), []byte{0}, []byte{' '}))
	if len(command) > 80 {
		command = command[:80] + "…"
	}
	return oneLine(command)
}
