"""A guest that sends a stream in single bytes takes no more memory than its window."""

from nova_hyper.daemon.guest.stream import WINDOW, AgentStream


def test_single_bytes_are_kept_together_and_in_order():
    stream = AgentStream(1, lambda data: None, lambda op, args: None)
    sent = bytes(number % 251 for number in range(WINDOW))
    for number in range(WINDOW):
        stream.take_data(0, sent[number : number + 1])
    assert len(stream._received) <= WINDOW // 1024
    read = b""
    while len(read) < WINDOW:
        read += stream.read(0.0)[1]
    assert read == sent


def test_output_and_errors_stay_apart():
    stream = AgentStream(1, lambda data: None, lambda op, args: None)
    for channel, payload in ((0, b"a"), (0, b"b"), (1, b"c"), (0, b"d")):
        stream.take_data(channel, payload)
    assert [stream.read(0.0) for _ in range(3)] == [(0, b"ab"), (1, b"c"), (0, b"d")]


def test_bytes_that_alternate_between_output_and_errors_are_kept_together_too():
    stream = AgentStream(1, lambda data: None, lambda op, args: None)
    for number in range(WINDOW):
        stream.take_data(number % 2, bytes((number // 2 % 256,)))
    assert len(stream._received) < 1024
    read = {0: b"", 1: b""}
    while len(read[0]) + len(read[1]) < WINDOW:
        channel, data = stream.read(0.0)
        read[channel] += data
    assert read[0] == read[1] == bytes(n % 256 for n in range(WINDOW // 2))
