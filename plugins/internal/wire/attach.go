package wire

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// attachScheme is in front of the address of a plugin that somebody else has started.
const attachScheme = "unix:"

// AttachPath is the path of the socket in an address like unix:/run/auth-doors.
func AttachPath(address string) (string, error) {
	path, ok := strings.CutPrefix(address, attachScheme)
	if !ok || !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is no address like unix:/path/of/the/socket", address)
	}
	return path, nil
}

// DialAttached connects to a plugin that somebody else has started (spec/plugin.md, Under a debugger). A socket of another user's is
// refused, and so is one behind which a process of another user's listens, where the system tells (Linux). pid is the process that listens; 0
// where the system does not tell.
func DialAttached(ctx context.Context, address string) (conn net.Conn, pid int, err error) {
	path, err := AttachPath(address)
	if err != nil {
		return nil, 0, err
	}
	if err := checkOwner(path); err != nil {
		return nil, 0, err
	}
	conn, err = (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, 0, err
	}
	if pid, err = checkPeer(conn); err != nil {
		conn.Close()
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	return conn, pid, nil
}
