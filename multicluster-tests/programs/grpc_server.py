"""A gRPC server on a unix socket: `grpc_server.py PATH`. Messages are bytes, so that no code is generated."""

import sys
import threading
from concurrent import futures

import grpc

cancelled = threading.Semaphore(0)


def seen(context):
    return {key: value for key, value in context.invocation_metadata()}


def echo(request, context):
    context.send_initial_metadata((("x-served-by", "grpcio"),))
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return request


def who(_, context):
    """Says who called, as the mesh vouches for it."""
    return seen(context).get("x-forwarded-client-cert", "").encode()


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()
    context.set_trailing_metadata((("x-sent", request.decode()),))


def chat(requests, _):
    for request in requests:
        yield b"re: " + request


def total(requests, _):
    return str(sum(len(request) for request in requests)).encode()


def fail(request, context):
    """Fails with the code that is asked for, after two messages."""
    yield b"one"
    yield b"two"
    context.set_trailing_metadata((("x-detail-bin", bytes([0, 255, 7])),))
    code = next(code for code in grpc.StatusCode if code.name == request.decode())
    context.abort(code, "as asked: äöü")


def wait(_, context):
    """Never answers; remembers that it was cancelled."""
    done = threading.Event()
    context.add_callback(lambda: (cancelled.release(), done.set()))
    done.wait(30)
    return b"late"


def cancellations(_, context):
    """Waits for one cancellation of `wait`."""
    if not cancelled.acquire(timeout=10):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nobody was cancelled")
    return b"one"


def main():
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Who": grpc.unary_unary_rpc_method_handler(who),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Fail": grpc.unary_stream_rpc_method_handler(fail),
        "Wait": grpc.unary_unary_rpc_method_handler(wait),
        "Cancellations": grpc.unary_unary_rpc_method_handler(cancellations),
    }
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Programs", handlers),))
    server.add_insecure_port(f"unix:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()


main()
