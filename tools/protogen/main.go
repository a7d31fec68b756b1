// Command protogen generates what follows from the plugin contracts (spec/plugin) without a protoc binary: their Go code, one
// file with their descriptors for languages that make classes of them at run time, and the reference page.
//
// It compiles the .proto files in-process, runs the two official generators pinned in tools/go.mod, and writes what they
// answer below the module's root. With -check it writes nothing and fails if a file would change.
//
// Run from the tools folder: go run ./protogen [-root ..] [-check]
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// parameter places the output by each file's go_package, below the module's root.
const parameter = "module=github.com/carillon-mq/carillon"

func main() {
	root := flag.String("root", "..", "root of the product's module")
	check := flag.Bool("check", false, "write nothing, fail if something would change")
	flag.Parse()
	if err := run(context.Background(), *root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, check bool) error {
	files, err := compile(ctx, filepath.Join(root, "spec"))
	if err != nil {
		return err
	}
	descriptors, err := encodeDescriptors(files)
	if err != nil {
		return err
	}
	for path, content := range map[string][]byte{
		descriptorsPath: descriptors,
		referencePath:   []byte(referencePage(files)),
	} {
		if err := put(filepath.Join(root, path), content, check); err != nil {
			return err
		}
	}
	request, err := proto.Marshal(codeGeneratorRequest(files))
	if err != nil {
		return err
	}
	for _, generator := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		files, err := generate(ctx, generator, request)
		if err != nil {
			return fmt.Errorf("%s: %w", generator, err)
		}
		for _, f := range files {
			if err := put(filepath.Join(root, f.GetName()), []byte(f.GetContent()), check); err != nil {
				return err
			}
		}
	}
	return nil
}

// compile parses and links every .proto file below spec/plugin, in the order of their names.
func compile(ctx context.Context, spec string) (linker.Files, error) {
	var names []string
	err := filepath.WalkDir(filepath.Join(spec, "plugin"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".proto") {
			var rel string
			rel, err = filepath.Rel(spec, path)
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{spec}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	return compiler.Compile(ctx, names...)
}

// codeGeneratorRequest is what a generator wants to be asked.
func codeGeneratorRequest(files linker.Files) *pluginpb.CodeGeneratorRequest {
	request := &pluginpb.CodeGeneratorRequest{Parameter: new(parameter), ProtoFile: withImports(files)}
	for _, file := range files {
		request.FileToGenerate = append(request.FileToGenerate, file.Path())
	}
	return request
}

// withImports lists each file after the files it imports, as generators and descriptor pools require.
func withImports(files linker.Files) []*descriptorpb.FileDescriptorProto {
	var list []*descriptorpb.FileDescriptorProto
	seen := map[string]bool{}
	var add func(file protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		list = append(list, protodesc.ToFileDescriptorProto(file))
	}
	for _, file := range files {
		add(file)
	}
	return list
}

// descriptorsPath is a google.protobuf.FileDescriptorSet.
const descriptorsPath = "spec/plugin/contract.binpb"

// encodeDescriptors is the set without comments, the same bytes for the same contract.
func encodeDescriptors(files linker.Files) ([]byte, error) {
	set := &descriptorpb.FileDescriptorSet{File: withImports(files)}
	for _, file := range set.GetFile() {
		file.SourceCodeInfo = nil
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(set)
}

func generate(ctx context.Context, generator string, request []byte) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", generator)
	cmd.Stdin = bytes.NewReader(request)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, errors.New(response.GetError())
	}
	return response.File, nil
}

func put(path string, content []byte, check bool) error {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, content) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is not what its .proto gives: run `make generate`", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}
