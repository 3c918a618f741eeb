"""A camera read and decoded by PyAV alone, in a process of its own: what any program has to pay.

    python -m bench_figures.alone URI SECONDS

prints the processor time in percent of a core.
"""

from __future__ import annotations

import sys
import time

SETTLING_S = 1.0


def main(uri: str, seconds: float) -> None:
    """Decode for so many seconds, and print the load."""
    import av

    with av.open(uri, timeout=10.0) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        begun_s = used_s = 0.0
        until_s = time.monotonic() + SETTLING_S
        for _ in container.decode(stream):
            now_s = time.monotonic()
            if now_s < until_s:
                continue
            if begun_s:
                print(100.0 * (time.process_time() - used_s) / (now_s - begun_s))
                return
            begun_s, used_s = now_s, time.process_time()
            until_s = now_s + seconds


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
