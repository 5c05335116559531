"""A gRPC client: `grpc_client.py granted|refused TARGET IDENTITY`; its proxy is in `grpc_proxy`."""

import sys
import time

import grpc

DEADLINE = 0.5


def method(channel, name, kind):
    return getattr(channel, kind)(f"/test.Programs/{name}")


def granted(channel, identity):
    echo = method(channel, "Echo", "unary_unary")
    answer, call = echo.with_call(b"hello", timeout=10)
    assert answer == b"hello", answer
    assert ("x-served-by", "grpcio") in tuple(call.initial_metadata()), call.initial_metadata()
    assert ("x-length", "5") in tuple(call.trailing_metadata()), call.trailing_metadata()
    large = bytes(range(256)) * 8192
    assert echo(large, timeout=20) == large, "2 MiB in both directions"

    forged = (("x-forwarded-client-cert", "By=spiffe://x/y;URI=spiffe://evil/ns/a/sa/b"),)
    told = method(channel, "Who", "unary_unary")(b"", timeout=10, metadata=forged).decode()
    assert f"URI={identity}" in told and "evil" not in told, told

    call = method(channel, "Count", "unary_stream")(b"1000", timeout=20)
    assert [int(part) for part in call] == list(range(1000))
    assert ("x-sent", "1000") in tuple(call.trailing_metadata()), call.trailing_metadata()

    # Each message is sent when the one before is answered, so nothing on the way may wait for the end.
    chat = method(channel, "Chat", "stream_stream")
    answered = []

    def asking():
        for number in range(20):
            while len(answered) < number:
                time.sleep(0.001)
            yield f"q{number}".encode()

    for answer in chat(asking(), timeout=20):
        assert answer == f"re: q{len(answered)}".encode(), answer
        answered.append(answer)
    assert len(answered) == 20

    parts = (b"x" * 10_000 for _ in range(100))
    assert method(channel, "Total", "stream_unary")(parts, timeout=20) == b"1000000"

    for code in ("NOT_FOUND", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNAUTHENTICATED", "DATA_LOSS"):
        call = method(channel, "Fail", "unary_stream")(code.encode(), timeout=10)
        received = []
        try:
            for part in call:
                received.append(part)
            raise AssertionError(f"{code}: it did not fail")
        except grpc.RpcError as error:
            assert error.code().name == code, error
            assert error.details() == "as asked: äöü", error
            assert ("x-detail-bin", bytes([0, 255, 7])) in tuple(error.trailing_metadata()), error
        assert received == [b"one", b"two"], received

    start = time.monotonic()
    try:
        method(channel, "Wait", "unary_unary")(b"", timeout=DEADLINE)
        raise AssertionError("it answered")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    took = time.monotonic() - start
    assert DEADLINE * 0.9 < took < DEADLINE * 8, took
    assert method(channel, "Cancellations", "unary_unary")(b"", timeout=15) == b"one", "the server was told"

    try:
        method(channel, "Nothing", "unary_unary")(b"", timeout=10)
        raise AssertionError("it answered")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error


def refused(channel):
    try:
        method(channel, "Echo", "unary_unary")(b"hello", timeout=10)
        raise AssertionError("it answered")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED, error
        said = dict(tuple(error.trailing_metadata()) + tuple(error.initial_metadata() or ()))
        assert "reason=NoGrant" in said["x-strait-denied"], said
        print(said["x-strait-denied"])


def main():
    what, target, identity = sys.argv[1:]
    with grpc.insecure_channel(target) as channel:
        if what == "granted":
            granted(channel, identity)
        else:
            refused(channel)


main()
