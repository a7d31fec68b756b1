//go:build unix

package host

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
)

// serveFaulty is a plugin without the kit, which would not let it do what is wrong. how is what is wrong from the start.
func serveFaulty(how string) {
	if how == "stop" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
	l, err := net.Listen("unix", os.Getenv("PLUGIN_UNIX_SOCKET_DIR")+"/faulty")
	if err != nil {
		panic(err)
	}
	if how == "noise" {
		go answerNoise(l)
	} else {
		server := grpc.NewServer()
		if how != "no-service" {
			commonv1pb.RegisterPluginServiceServer(server, faultyCommon{foreign{}, how})
		}
		if how == "store" {
			storev1pb.RegisterStoreServiceServer(server, faultyStore{})
		} else if how != "no-auth" {
			authv1pb.RegisterAuthServiceServer(server, faultyAuth{})
		}
		go func() { _ = server.Serve(l) }()
	}
	if how == "endless line" {
		go func() {
			for line := bytes.Repeat([]byte("n"), 64<<10); ; {
				if _, err := syscall.Write(syscall.Stderr, line); err != nil {
					return
				}
			}
		}()
	}
	fmt.Printf("1|1|unix|%s|grpc\n", l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// answerNoise answers everything with bytes that are no HTTP/2.
func answerNoise(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Write(bytes.Repeat([]byte{0, 0xff, '\n', 0x1b}, 1000))
	}
}

type faultyCommon struct {
	foreign
	how string
}

func (f faultyCommon) Describe(ctx context.Context, r *commonv1pb.DescribeRequest) (*commonv1pb.DescribeResponse, error) {
	d, err := f.foreign.Describe(ctx, r)
	switch f.how {
	case "store":
		d.Kind, d.Capabilities = KindStore, []string{"history"}
	case "contract before":
		d.ContractVersions = []uint32{0}
	case "contract to come":
		d.ContractVersions = []uint32{2, 3}
	case "no name":
		d.Name = ""
	case "many capabilities":
		d.Capabilities = make([]string, 1000)
	case "describe hangs":
		<-ctx.Done()
	case "describe is large":
		d.ConfigSchema = strings.Repeat(" ", 64<<20)
	}
	return d, err
}

var healthChecks atomic.Int32 // of this process

func (f faultyCommon) Health(ctx context.Context, r *commonv1pb.HealthRequest) (*commonv1pb.HealthResponse, error) {
	switch f.how {
	case "no health":
		return nil, status.Error(codes.Unimplemented, "unknown method Health")
	case "unknown health":
		return &commonv1pb.HealthResponse{Status: 9}, nil
	case "health hangs":
		if healthChecks.Add(1) > 1 {
			<-ctx.Done()
		}
	}
	return f.foreign.Health(ctx, r)
}

type faultyAuth struct {
	authv1pb.UnimplementedAuthServiceServer
}

// Authenticate answers as the token says.
func (faultyAuth) Authenticate(ctx context.Context, r *authv1pb.AuthenticateRequest) (*authv1pb.AuthenticateResponse, error) {
	let := func(id *authv1pb.Identity) (*authv1pb.AuthenticateResponse, error) {
		return &authv1pb.AuthenticateResponse{Decision: &authv1pb.AuthenticateResponse_Identity{Identity: id}}, nil
	}
	refuse := func(code string) (*authv1pb.AuthenticateResponse, error) {
		return &authv1pb.AuthenticateResponse{Decision: &authv1pb.AuthenticateResponse_Refusal{Refusal: &commonv1pb.Refusal{Code: code}}}, nil
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }
	grant := func(filter string, actions ...authv1pb.Grant_Action) []*authv1pb.Grant {
		return []*authv1pb.Grant{{Filter: filter, Actions: actions}}
	}
	if n, ok := strings.CutPrefix(r.GetToken(), "status "); ok {
		code, _ := strconv.Atoi(n)
		return nil, status.Error(codes.Code(code), "because")
	}
	if strings.HasPrefix(r.GetToken(), "herd") {
		return let(&authv1pb.Identity{User: theHerd.take(r.GetToken()), NeverExpires: true})
	}
	switch r.GetToken() {
	case "nothing":
		return &authv1pb.AuthenticateResponse{}, nil
	case "identity without content":
		return let(nil)
	case "identity without user":
		return let(&authv1pb.Identity{NeverExpires: true})
	case "unknown action":
		return let(&authv1pb.Identity{User: "u", NeverExpires: true, Grants: grant("a", 9)})
	case "a million grants":
		id := &authv1pb.Identity{User: "u", NeverExpires: true}
		for range 1_000_000 {
			id.Grants = append(id.Grants, &authv1pb.Grant{})
		}
		return let(id)
	case "1001 grants":
		id := &authv1pb.Identity{User: "u", NeverExpires: true}
		for range 1001 {
			id.Grants = append(id.Grants, grant("a", authv1pb.Grant_ACTION_PUBLISH)...)
		}
		return let(id)
	case "bad filter":
		return let(&authv1pb.Identity{User: "u", NeverExpires: true, Grants: grant("a.>.b", authv1pb.Grant_ACTION_PUBLISH)})
	case "NUL":
		return let(&authv1pb.Identity{User: "u\x00", NeverExpires: true})
	case "expired":
		return let(&authv1pb.Identity{User: "u", ExpiresAtMs: in(-time.Hour)})
	case "year 9999":
		return let(&authv1pb.Identity{User: "u", ExpiresAtMs: 253402300799000})
	case "no end":
		return let(&authv1pb.Identity{User: "u"})
	case "unknown refusal":
		return refuse("no_such_code")
	case "refusal of another kind":
		return refuse("store_unavailable")
	case "64 MiB":
		return let(&authv1pb.Identity{User: "u", NeverExpires: true, Attributes: map[string]string{"a": strings.Repeat("x", 64<<20)}})
	case "stop": // takes effect thread by thread: this one may go on for a while
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {}
	case "SEGV", "ABRT", "KILL":
		_ = syscall.Kill(os.Getpid(), map[string]syscall.Signal{"SEGV": syscall.SIGSEGV, "ABRT": syscall.SIGABRT, "KILL": syscall.SIGKILL}[r.GetToken()])
		<-ctx.Done()
	}
	return let(&authv1pb.Identity{User: "u", NeverExpires: true})
}
