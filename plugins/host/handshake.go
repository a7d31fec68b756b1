package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/hashicorp/go-plugin"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

// maxHandshake bounds the first line on standard output, newline included. One with a certificate has about 900 bytes.
const maxHandshake = 8 << 10

// checkHandshake holds a plugin's first line, `1|1|unix|/path|grpc[|certificate]`, to more than go-plugin does, before it gets
// to see it: CORE|CONTRACT|NETWORK|ADDRESS|PROTOCOL, a certificate exactly when mtls is on. The error says what was found.
func checkHandshake(line, dir string, mtls bool) error {
	bad := func(found string) error {
		return fmt.Errorf("handshake %q: %s", printable(strings.TrimSpace(line), 120), found)
	}
	fields := strings.Split(strings.TrimSpace(line), "|")
	if len(fields) < 5 || len(fields) > 7 {
		return bad(fmt.Sprintf("%d fields, wanted CORE|CONTRACT|NETWORK|ADDRESS|PROTOCOL|CERTIFICATE as the first line on standard output", len(fields)))
	}
	if fields[0] != strconv.Itoa(plugin.CoreProtocolVersion) {
		return bad(fmt.Sprintf("go-plugin protocol %q, wanted %d", printable(fields[0], 20), plugin.CoreProtocolVersion))
	}
	if fields[1] != strconv.Itoa(wire.ContractVersion) {
		return permanent(bad(fmt.Sprintf("contract version %q, this broker needs %d: install a matching version of the plugin",
			printable(fields[1], 20), wire.ContractVersion)))
	}
	if err := checkAddress(fields[2], fields[3], dir); err != nil {
		return bad(err.Error())
	}
	if fields[4] != string(plugin.ProtocolGRPC) {
		return bad("the protocol is not grpc")
	}
	if hasCert := len(fields) > 5 && fields[5] != ""; hasCert != mtls {
		if mtls {
			return bad("no certificate, although the environment has PLUGIN_CLIENT_CERT (AutoMTLS)")
		}
		return bad("a certificate nobody asked for")
	}
	return nil
}

// checkAddress accepts a socket in dir, which go-plugin made for this one plugin; on Windows a port of this machine. Nothing
// else is ever connected to.
func checkAddress(network, address, dir string) error {
	if runtime.GOOS == "windows" {
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err != nil || network != "tcp" || ip == nil || !ip.IsLoopback() {
			return errors.New("the address is no port of this machine")
		}
		return nil
	}
	if network != "unix" || dir == "" || filepath.Clean(address) != address || filepath.Dir(address) != dir {
		return errors.New("the address is no socket in PLUGIN_UNIX_SOCKET_DIR")
	}
	info, err := os.Lstat(address)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return errors.New("there is no socket at the address")
	}
	return nil
}
