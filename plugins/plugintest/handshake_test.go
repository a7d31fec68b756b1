//go:build unix

package plugintest

import (
	"encoding/base64"
	"net"
	"os"
	"path/filepath"
	"strings"
	gotest "testing" // the package has a testing of its own
	"unicode"
)

// A first line that is taken leads to a socket in the plugin's own folder, with a certificate where one was asked for. What is told of
// another one can be printed.
func FuzzHandshake(f *gotest.F) {
	dir, err := os.MkdirTemp("/tmp", "carillon-fuzz-") // a socket's path has to be short
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	keys, err := newKeys()
	if err != nil {
		f.Fatal(err)
	}
	certificate := base64.RawStdEncoding.EncodeToString(keys.certificate.Certificate[0])
	f.Add("1|1|unix|DIR/s|grpc|"+certificate+"\n", true)
	f.Add("1|1|unix|DIR/s|grpc|"+certificate+"==\n", true)
	f.Add("1|1|unix|DIR/s|grpc|c29tZQ\n", true)
	f.Add("1|1|unix|DIR/s|grpc\n", false)
	f.Add("1|1|unix|DIR/../s|grpc||\n", false)
	f.Add("1|1|unix|DIR/\x1b[2J|grpc||", false)
	f.Add("1|1|tcp|127.0.0.1:53|grpc", false)
	f.Add("1|99|unix|DIR/s|grpc|", false)
	f.Add("\x1b[2J|\x00|\xff|||", true)
	f.Fuzz(func(t *gotest.T, line string, secure bool) {
		in := &process{sockets: dir}
		if secure {
			in.tls = keys
		}
		if err := in.parse(strings.ReplaceAll(line, "DIR", dir)); err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("it is told %q", err)
			}
			return
		}
		if h := in.handshake; h.network != "unix" || filepath.Dir(h.address) != dir || (h.certificate != nil) != secure {
			t.Errorf("%q is taken as %+v", line, h)
		}
	})
}
