//go:build unix

package host

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHandshakes(t *testing.T) {
	dir := shortDir(t)
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink(socket, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cert := strings.Repeat("A", 600)
	for _, c := range []struct {
		name, line string
		mtls       bool
		says       string // "": accepted
	}{
		{"five fields", "1|1|unix|" + socket + "|grpc", false, ""},
		{"go-plugin without TLS", "1|1|unix|" + socket + "|grpc|\n", false, ""},
		{"with a certificate", "1|1|unix|" + socket + "|grpc|" + cert + "\r\n", true, ""},
		{"with multiplexing", "1|1|unix|" + socket + "|grpc||true", false, ""},
		{"no certificate", "1|1|unix|" + socket + "|grpc|", true, "no certificate"},
		{"unasked certificate", "1|1|unix|" + socket + "|grpc|" + cert, false, "nobody asked"},
		{"a symbolic link", "1|1|unix|" + filepath.Join(dir, "link") + "|grpc", false, "no socket at the address"},
		{"a plain file", "1|1|unix|" + filepath.Join(dir, "file") + "|grpc", false, "no socket at the address"},
		{"nothing there", "1|1|unix|" + filepath.Join(dir, "none") + "|grpc", false, "no socket at the address"},
		{"out of the folder", "1|1|unix|" + dir + "/../s|grpc", false, "no socket in"},
		{"abstract", "1|1|unix|@s|grpc", false, "no socket in"},
		{"this machine by TCP", "1|1|tcp|127.0.0.1:80|grpc", false, "no socket in"},
		{"net/rpc", "1|1|unix|" + socket + "|netrpc", false, "not grpc"},
		{"empty", "", false, "1 fields"},
	} {
		err := checkHandshake(c.line, dir, c.mtls)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, wanted %q", c.name, err, c.says)
		}
	}
}
