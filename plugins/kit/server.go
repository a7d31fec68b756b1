package kit

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
)

// pluginSet is the one entry of go-plugin's set: it registers the services of a plugin.
type pluginSet struct {
	plugin.NetRPCUnsupportedPlugin
	server *server
}

var _ plugin.GRPCPlugin = (*pluginSet)(nil)

// GRPCServer implements plugin.GRPCPlugin.
func (p *pluginSet) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	p.server.register(s)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin; a plugin is no client.
func (p *pluginSet) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin is not a host")
}

// server answers the calls that every plugin has, and makes the implementation when it is configured.
type server struct {
	commonv1pb.UnimplementedPluginServiceServer
	plugin Plugin
	calls  interface{ Close() } // the calls of the plugin's kind

	mu    sync.RWMutex
	auth  broker.Authenticator
	store Store
	ended bool
}

func (s *server) register(to grpc.ServiceRegistrar) {
	commonv1pb.RegisterPluginServiceServer(to, s)
	if s.plugin.Kind == KindAuth {
		s.calls = wire.RegisterAuth(to, func() broker.Authenticator {
			s.mu.RLock()
			defer s.mu.RUnlock()
			return s.auth
		})
		return
	}
	s.calls = wire.RegisterStore(to, func() broker.Store {
		s.mu.RLock()
		defer s.mu.RUnlock()
		if s.store == nil {
			return nil
		}
		return s.store
	})
}

// Describe implements the service.
func (s *server) Describe(context.Context, *commonv1pb.DescribeRequest) (*commonv1pb.DescribeResponse, error) {
	return &commonv1pb.DescribeResponse{
		Name: s.plugin.Name, Version: s.plugin.Version, Kind: s.plugin.Kind, ContractVersions: []uint32{wire.ContractVersion},
		Capabilities: s.plugin.Capabilities, ConfigSchema: s.plugin.ConfigSchema,
	}, nil
}

// Configure implements the service.
func (s *server) Configure(_ context.Context, r *commonv1pb.ConfigureRequest) (*commonv1pb.ConfigureResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.auth != nil || s.store != nil {
		return nil, status.Error(codes.FailedPrecondition, "the plugin is configured already")
	}
	config := json.RawMessage(r.GetConfig())
	if len(config) == 0 {
		config = json.RawMessage("{}")
	}
	if err := s.makeLocked(config); err != nil {
		if bad, ok := errors.AsType[*ConfigError](err); ok {
			return nil, status.Error(codes.InvalidArgument, bad.Reason)
		}
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &commonv1pb.ConfigureResponse{}, nil
}

func (s *server) makeLocked(config json.RawMessage) (err error) {
	if s.ended {
		return errors.New("the plugin is ending")
	}
	if s.plugin.Kind == KindAuth {
		return s.makeAuthLocked(config)
	}
	store, err := s.plugin.Store(config)
	if err == nil {
		s.store = store
	}
	return err
}

func (s *server) makeAuthLocked(config json.RawMessage) error {
	auth, err := s.plugin.Auth(config)
	if err != nil {
		return err
	}
	if missing := missingPower(auth, s.plugin.Capabilities); missing != "" {
		if closer, ok := auth.(io.Closer); ok {
			_ = closer.Close() // it has done nothing
		}
		return BadConfig("the plugin %s announces %q and cannot do it: that is a mistake in the plugin", s.plugin.Name, missing)
	}
	s.auth = auth
	return nil
}

// missingPower is the power among those announced that auth does not have; empty if it has them all.
func missingPower(auth broker.Authenticator, announced []string) broker.AuthPower {
	_, authorizes := auth.(broker.Authorizer)
	_, revokes := auth.(broker.Revoker)
	switch {
	case !authorizes && slices.Contains(announced, string(broker.PowerAuthorize)):
		return broker.PowerAuthorize
	case !revokes && slices.Contains(announced, string(broker.PowerRevocations)):
		return broker.PowerRevocations
	}
	return ""
}

// Health implements the service.
func (s *server) Health(context.Context, *commonv1pb.HealthRequest) (*commonv1pb.HealthResponse, error) {
	s.mu.RLock()
	var impl any = s.auth
	if s.store != nil {
		impl = s.store
	}
	s.mu.RUnlock()
	if impl == nil {
		return &commonv1pb.HealthResponse{Status: commonv1pb.HealthResponse_STATUS_NOT_SERVING, Detail: "not configured yet"}, nil
	}
	if checker, ok := impl.(HealthChecker); ok {
		if err := checker.CheckHealth(); err != nil {
			return &commonv1pb.HealthResponse{Status: commonv1pb.HealthResponse_STATUS_NOT_SERVING, Detail: err.Error()}, nil
		}
	}
	return &commonv1pb.HealthResponse{Status: commonv1pb.HealthResponse_STATUS_SERVING}, nil
}

// close closes the implementation, when nothing calls it anymore.
func (s *server) close() error {
	if s.calls != nil {
		s.calls.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.store != nil {
		return s.store.Close()
	}
	if closer, ok := s.auth.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
