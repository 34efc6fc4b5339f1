"""A worker without a model: speaks the protocol, and misbehaves on request.

The prompt of a `Complete` says how: `die`, `hang`, `chatter`, `garbage`, `half`, `close`, `noise`.
"""

import os
import signal
import struct
import sys
import time

from scd_tui.graph import Completion, Token
from scd_tui.worker import protocol as p


def send(message: p.Message) -> None:
    sys.stdout.buffer.write(p.frame(message))
    sys.stdout.buffer.flush()


def complete(request: p.Complete) -> None:
    number = request.request
    match request.prompt:
        case "die":
            sys.stderr.write("first\nRuntimeError: \x1b[31mdevice lost\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            sys.exit(3)
        case "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            send(p.Progress(request=number, stage="hanging", done=0, total=1))
            time.sleep(60)
        case "chatter":
            for line in range(20_000):
                sys.stderr.write(f"warning {line}: {'x' * 80}\n")
            sys.stderr.write("\rprogress 1%\rprogress 99%")
            sys.stderr.flush()
        case "garbage":
            sys.stdout.buffer.write(p.frame(p.Shutdown(request=1)))
            sys.stdout.buffer.flush()
            time.sleep(60)
        case "huge":
            sys.stdout.buffer.write(struct.pack(">I", 1 << 31))
            sys.stdout.buffer.flush()
            time.sleep(60)
        case "half":
            sys.stdout.buffer.write(p.frame(p.Tokenized(request=number, tokens=()))[:6])
            sys.stdout.buffer.flush()
            os._exit(5)
        case "close":
            os.close(1)
            time.sleep(60)
    token = Token(1, request.prompt)
    send(p.Completed(request=number, tokens=(token,), completions=(Completion(token, 0.5, 1.0),)))


def main() -> None:
    while prefix := sys.stdin.buffer.read(p.PREFIX):
        request = p.decode_request(sys.stdin.buffer.read(p.body_length(prefix)))
        if isinstance(request, p.Shutdown):
            return
        if isinstance(request, p.Complete):
            complete(request)


if __name__ == "__main__":
    main()
