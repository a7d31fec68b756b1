"""What stands around the calls of a Carillon plugin: its start, its configuration and its end.

    kit.serve(name="auth-doors", version="0.1.0", kind="auth", schema=SCHEMA, make=Doors)

make is called once with the configuration, a dict, and returns an object with a method for each call of the contract
that it serves: authenticate(request, context), load_retained(request, context) and so on. They get and give the
messages of the contract, which are here as kit.auth, kit.store and kit.common: kit.auth.Identity(user="ann"). Methods
are called by several threads at a time. What they raise is "no decision" to the broker, and never a refusal.

This file is the same in every plugin. It needs Debian's python3-grpcio and python3-protobuf, and openssl.
"""

import base64
import json
import logging
import os
import pkgutil
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MAX_MESSAGE_BYTES = 4 << 20
THREADS = 64  # calls at a time; a Follow holds one for as long as it lasts
COOKIE = "e5b1c1e7-started-by-a-carillon-broker"

log = logging.getLogger("plugin")


class BadConfig(Exception):
    """A configuration that is refused for good. The text names the key, and holds no secret."""


class Trimmed(Exception):
    """Follow was asked to begin at records that are no longer held."""


def _load(descriptors):
    """Makes classes of the messages that the contract's compiled .proto files describe."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.AddSerializedFile(file.SerializeToString())
    if hasattr(message_factory, "GetMessageClass"):
        class_of = message_factory.GetMessageClass
    else:  # before protobuf 4.22
        class_of = message_factory.MessageFactory(pool).GetPrototype
    kinds, classes, services = {}, {}, {}
    for file in files:
        messages = {m.name: class_of(pool.FindMessageTypeByName(f"{file.package}.{m.name}")) for m in file.message_type}
        kinds[file.package.split(".")[-2]] = SimpleNamespace(**messages)
        classes.update({f".{file.package}.{name}": made for name, made in messages.items()})
        services.update({f"{file.package}.{s.name}": s.method for s in file.service})
    return kinds, classes, services


_kinds, _classes, _services = _load(pkgutil.get_data(__name__, "contract.binpb"))
common, auth, store = _kinds["common"], _kinds["auth"], _kinds["store"]


def serve(*, name, version, kind, make, schema=None, capabilities=()):
    """Runs the plugin until the broker asks it to end. It does not return. A person who looks into it starts it with --debug, or with
    --debug=unix:/path, under a debugger as a rule: it waits there for a broker (auth.attach, store.attach) or for `carillon plugin test --attach`."""
    started = os.environ.get("CARILLON_PLUGIN") == COOKIE
    debug = next((word for word in sys.argv[1:] if word == "--debug" or word.startswith("--debug=")), None)
    if not started and debug is None:
        print(f"{name} is a Carillon plugin of kind {kind} and does nothing by itself: a broker starts it.\n"
              f"Name it in carillon.yaml ({kind}: {{path: …, sha256: …}}) and run `carillon serve`; start it with --debug to attach a broker "
              "or a test to it.", file=sys.stderr)
        sys.exit(2)
    if started:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the broker ends its plugins, in its own order
        threading.Thread(target=_watch_lifeline, daemon=True).start()
    _log_to_stderr()
    plugin = _Plugin(common.DescribeResponse(
        name=name, version=version, kind=kind, contract_versions=[1], capabilities=capabilities,
        config_schema=json.dumps(schema) if schema else ""), make)
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.max_send_message_length", MAX_MESSAGE_BYTES)])
    server.add_generic_rpc_handlers([
        _handlers("carillon.plugin.common.v1.PluginService", lambda: plugin),
        _handlers(f"carillon.plugin.{kind}.v1.{kind.capitalize()}Service", plugin.made),
        grpc.method_handlers_generic_handler("plugin.GRPCController", {
            "Shutdown": grpc.unary_unary_rpc_method_handler(plugin.shutdown)})])
    if not started:
        _wait(server, plugin, name, kind, debug.removeprefix("--debug").removeprefix("="))
    address = "unix:" + os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "plugin.sock")
    certificate = ""
    if "PLUGIN_CLIENT_CERT" in os.environ:
        credentials, certificate = _credentials(os.environ["PLUGIN_CLIENT_CERT"])
        server.add_secure_port(address, credentials)
    else:
        server.add_insecure_port(address)
    server.start()
    print("1|1|unix", address.removeprefix("unix:"), "grpc", certificate, sep="|", flush=True)
    plugin.ended.wait()
    _end(server, plugin)


def _end(server, plugin):
    server.stop(grace=1).wait()
    plugin.close()
    logging.shutdown()
    os._exit(0)  # no thread of a pool is waited for


def _wait(server, plugin, name, kind, at):
    """Waits for who attaches, at an address that only this user can connect to, until an interrupt. It does not return."""
    path = at.removeprefix("unix:") or os.path.join(tempfile.mkdtemp(prefix="carillon-debug-"), "plugin")
    with socket.socket(socket.AF_UNIX) as somebody:
        if somebody.connect_ex(path) == 0:
            sys.exit(f"{path}: another process listens there; end it, or choose another path")
    mask = os.umask(0o177)  # no other user can connect to it, from its first moment on
    server.add_insecure_port("unix:" + path)  # in the place of a socket that an earlier process has left
    os.umask(mask)
    server.start()
    print(f"{name} waits at unix:{path}\ncarillon dev --{kind}-attach unix:{path}\ncarillon plugin test --attach unix:{path} --only CASE",
          file=sys.stderr, flush=True)
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupt, lambda *_: plugin.ended.set())
    plugin.ended.wait()
    if not at:
        shutil.rmtree(os.path.dirname(path), ignore_errors=True)
    _end(server, plugin)


def refuse(code, detail, hint=""):
    """A refusal, which reaches the client: a code of docs/codes.md and what was wrong in this case."""
    return common.Refusal(code=code, detail=detail, hint=hint)


TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}


def check(value, schema, key=""):
    """Holds value against a schema as far as the code relies on it: types, required and unknown keys. The broker has held it
    against all of the schema, but the plugin does not rest on that."""
    wanted = schema.get("type")
    if wanted in TYPES and (not isinstance(value, TYPES[wanted]) or isinstance(value, bool) and wanted != "boolean"):
        raise BadConfig(f"{key or 'configuration'}: want {wanted}")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        inside = key + "." if key else ""
        for name in schema.get("required", ()):
            if name not in value:
                raise BadConfig(f"{inside}{name}: missing")
        for name, part in value.items():
            if name not in known and schema.get("additionalProperties") is False:
                raise BadConfig(f"{inside}{name}: unknown key")
            check(part, known.get(name, {}), inside + name)
    if isinstance(value, list):
        for i, part in enumerate(value):
            check(part, schema.get("items", {}), f"{key}[{i}]")


class _Plugin:
    """The calls that every plugin has."""

    def __init__(self, description, make):
        self.description, self.make = description, make
        self.lock, self.object, self.ended = threading.Lock(), None, threading.Event()

    def describe(self, request, context):
        return self.description

    def configure(self, request, context):
        with self.lock:
            if self.object is not None:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the plugin is configured already")
            try:
                config = json.loads(request.config or b"{}")
                check(config, json.loads(self.description.config_schema or "{}"))
                self.object = self.make(config)
            except BadConfig as refused:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refused))
        return common.ConfigureResponse()

    def health(self, request, context):
        problem = "not configured yet"
        if self.object is not None:
            problem = self.object.problem() if hasattr(self.object, "problem") else ""
        if problem:
            return common.HealthResponse(status=common.HealthResponse.STATUS_NOT_SERVING, detail=problem)
        return common.HealthResponse(status=common.HealthResponse.STATUS_SERVING)

    def shutdown(self, request, context):
        self.ended.set()
        return b""

    def made(self):
        return self.object

    def close(self):
        if hasattr(self.object, "close"):
            self.object.close()


def _handlers(service, target):
    """The calls of a service, each as the method of target() that has its name."""
    handlers = {}
    for method in _services[service]:
        shape = "_".join("stream" if is_stream else "unary" for is_stream in (method.client_streaming, method.server_streaming))
        call = (_streaming if method.server_streaming else _unary)(re.sub("(?<=[a-z])(?=[A-Z])", "_", method.name).lower(), target)
        handlers[method.name] = getattr(grpc, f"{shape}_rpc_method_handler")(
            call, request_deserializer=_classes[method.input_type].FromString,
            response_serializer=_classes[method.output_type].SerializeToString)
    return grpc.method_handlers_generic_handler(service, handlers)


def _unary(name, target):
    def call(request, context):
        try:
            return _method(name, target, context)(request, context)
        except Exception as problem:
            _fail(name, problem, context)
    return call


def _streaming(name, target):
    def call(request, context):
        try:
            yield from _method(name, target, context)(request, context)
        except Exception as problem:
            _fail(name, problem, context)
    return call


def _method(name, target, context):
    """The object's own method."""
    made = target()
    if made is None:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the plugin is not configured yet")
    if not hasattr(made, name):
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"this plugin has no {name}")
    return getattr(made, name)


def _fail(name, problem, context):
    """Ends a call with an error: the broker's log gets the text, no client does."""
    if context.code() is not None or not context.is_active():
        raise problem  # ended already, by abort or by the broker
    log.error("%s: %s: %s", name, type(problem).__name__, problem)
    context.abort(grpc.StatusCode.OUT_OF_RANGE if isinstance(problem, Trimmed) else grpc.StatusCode.UNAVAILABLE, str(problem))


def _credentials(client_certificate):
    """A certificate of this process's own, and credentials that let in nobody but the broker."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "/dev/stdout"],
        check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    begin = made.index("-----BEGIN CERTIFICATE-----")
    key, certificate = made[:begin].encode(), made[begin:]
    der = base64.b64decode("".join(certificate.split("-----")[2].split()))
    credentials = grpc.ssl_server_credentials(
        [(key, certificate.encode())], root_certificates=client_certificate.encode(), require_client_auth=True)
    return credentials, base64.b64encode(der).decode().rstrip("=")


def _watch_lifeline():
    """Ends the process when standard input does: the broker is gone."""
    sys.stdin.buffer.read()
    os._exit(3)


class _Line(logging.Formatter):
    """A line of JSON, which the broker takes over into its own log."""

    def format(self, record):
        return json.dumps({"level": record.levelname.lower(), "msg": record.getMessage()})


def _log_to_stderr():
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    log.addHandler(handler)
    log.setLevel(os.environ.get("CARILLON_PLUGIN_LOG", "info").upper())
    log.propagate = False
