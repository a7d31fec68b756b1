package plugintest

import (
	"context"
	"crypto/tls"
	"net"
	"regexp"
	"runtime"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
)

// startCases are about how a plugin starts and what it says of itself.
var startCases = []Case{
	{
		Name: "started by a person it says what it is, and exits", Own: true, run: testByHand,
		Does: "starts it without CARILLON_PLUGIN",
		Says: "Without it, a person has started the plugin: say on standard error what it is, and exit",
	},
	{
		Name: "the first line of standard output is the handshake", Own: true, run: testHandshake,
		Does: "starts it without and with PLUGIN_CLIENT_CERT, and with a broker that speaks more versions",
		Says: "An address anywhere else, another line first, or no line ends the start; nothing is connected to.",
	},
	{
		Name: "both ends prove themselves by their certificates", Own: true, run: testCertificates,
		Does: "connects in clear, without a certificate and with a strange one to a plugin that was given PLUGIN_CLIENT_CERT",
		Says: "Plugin and broker then prove themselves to each other with these two certificates (TLS 1.2 or later).",
	},
	{
		Name: "it describes itself before it is configured", Own: true, run: testDescribe,
		Does:  "calls Describe twice before Configure and once after, and looks at every field",
		Says:  "It must work before Configure, and must not depend on anything outside the plugin.",
		Where: commonProto,
	},
	{
		Name: "fields that it does not know are ignored", Own: true, run: testUnknownFields,
		Does: "sends Describe, Configure and Health with fields of a later version",
		Says: "ignore fields you do not know; an unknown value of an enum is malformed",
	},
}

func testByHand(t *T) {
	in, err := spawn(t.plugin, launch{byHand: true})
	if err != nil {
		t.Fatal(err)
	}
	defer t.closed(in)
	in.cut() // what a terminal's user does in the end; a plugin that has exited does not mind
	if !in.wait(patience) {
		t.Fatalf("expected that it exits, it is still there after %v", patience)
	}
	in.group.Wait()
	if said := in.output.last(); len(said) == 0 && (<-in.first).text == "" {
		t.Errorf("expected a line that says what it is, got none; %s", in.how())
	}
}

func testHandshake(t *T) {
	for _, bundled := range []bool{true, false} {
		for _, versions := range []string{"", "2,1"} {
			p := t.plugin
			p.Bundled = bundled
			in, err := open(t.ctx, p, launch{versions: versions})
			if in != nil {
				t.closed(in)
			}
			if err != nil {
				t.Errorf("PLUGIN_CLIENT_CERT set: %t, PLUGIN_PROTOCOL_VERSIONS=%q: %v", !bundled, versions, err)
			}
		}
	}
}

func testCertificates(t *T) {
	p := t.plugin
	p.Bundled = false
	in, err := open(t.ctx, p, launch{})
	if in != nil {
		defer t.closed(in)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := in.describe(t.ctx, &About{}); err != nil {
		t.Fatalf("with the right certificates: %v", err)
	}
	strange, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	right := in.tls.client(in.handshake.certificate)
	none := right.Clone()
	none.Certificates = nil
	for _, try := range []struct {
		what   string
		config *tls.Config
	}{{"a certificate that nobody has told it of", strange.client(in.handshake.certificate)}, {"no certificate", none}, {"no encryption", nil}} {
		if talks(t.ctx, in, try.config) {
			t.Errorf("expected that it talks to nobody with %s, it does", try.what)
		}
	}
	if err := in.describe(t.ctx, &About{}); err != nil {
		t.Errorf("with the right certificates again: %v", err)
	}
}

// talks reports whether the plugin answers HTTP/2's preface over a connection with config; nil is without encryption.
func talks(ctx context.Context, in *process, config *tls.Config) bool {
	conn, err := in.dial(ctx, "")
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if config != nil {
		config.NextProtos = []string{"h2"}
		secure := tls.Client(conn, config)
		if secure.HandshakeContext(ctx) != nil {
			return false
		}
		conn = net.Conn(secure)
	}
	// The preface and an empty SETTINGS frame; who talks answers with SETTINGS, which is frame type 4.
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return false
	}
	var head [9]byte
	for n := 0; n < len(head); {
		m, err := conn.Read(head[n:])
		if n += m; err != nil {
			return false
		}
	}
	return head[3] == 4
}

var (
	pluginName = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	capability = regexp.MustCompile(`^[!-~]{1,64}$`)
)

func testDescribe(t *T) {
	in := t.open()
	first := t.describe(in)
	switch {
	case !pluginName.MatchString(first.GetName()):
		t.Errorf("expected a name of 1 to 64 bytes of a-z, 0-9 and \"-\", got %q", first.GetName())
	case len(first.GetVersion()) > 64:
		t.Errorf("expected a version of at most 64 bytes, got %d", len(first.GetVersion()))
	case !slices.Contains(first.GetContractVersions(), wire.ContractVersion):
		t.Errorf("expected that contract_versions has %d, got %v", wire.ContractVersion, first.GetContractVersions())
	}
	for i, c := range first.GetCapabilities() {
		if !capability.MatchString(c) || slices.Contains(first.GetCapabilities()[:i], c) {
			t.Errorf("expected capabilities of one word each, each once, got %q", first.GetCapabilities())
		}
	}
	second := t.describe(in)
	if err := in.configure(t.ctx, configIn(t.about.config, t.dataDir())); err != nil {
		t.Fatalf("configure: %v", err)
	}
	for when, next := range map[string]*commonv1pb.DescribeResponse{"the second time": second, "after Configure": t.describe(in)} {
		if !proto.Equal(first, next) {
			t.Errorf("expected the same description each time, got %s: %v; and first: %v", when, next, first)
		}
	}
}

func (t *T) describe(in *process) *commonv1pb.DescribeResponse {
	ctx, cancel := context.WithTimeout(t.ctx, t.patience())
	defer cancel()
	d, err := in.common.Describe(ctx, &commonv1pb.DescribeRequest{})
	if err != nil {
		t.Fatalf("describe: %v", err)
	}
	return d
}

// later puts fields of a later version into m.
func later[M proto.Message](m M) M {
	b := protowire.AppendTag(nil, 1000, protowire.BytesType)
	b = protowire.AppendString(b, "a field of a later version")
	b = protowire.AppendTag(b, 1001, protowire.VarintType)
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(b, 7))
	return m
}

func testUnknownFields(t *T) {
	in := t.open()
	ctx, cancel := context.WithTimeout(t.ctx, t.patience())
	defer cancel()
	if _, err := in.common.Describe(ctx, later(&commonv1pb.DescribeRequest{})); err != nil {
		t.Errorf("describe: %v", err)
	}
	if _, err := in.common.Configure(ctx, later(&commonv1pb.ConfigureRequest{Config: configIn(t.about.config, t.dataDir())})); err != nil {
		t.Errorf("configure: %v", err)
	}
	if _, err := in.common.Health(ctx, later(&commonv1pb.HealthRequest{})); err != nil {
		t.Errorf("health: %v", err)
	}
}

// unix reports whether there are Unix processes, with their signals and groups.
const unix = runtime.GOOS != "windows"
