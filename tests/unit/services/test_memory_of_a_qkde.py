"""What a QKDE's threads free is there for all of them."""

import subprocess
import sys

ARENAS_OF_EIGHT_THREADS = """
import ctypes, sys, threading
from services.qkde_node import share_freed_memory

if "shared" in sys.argv:
    share_freed_memory()
together = threading.Barrier(8)
c = ctypes.CDLL(None)
c.malloc.restype, c.fopen.restype = ctypes.c_void_p, ctypes.c_void_p

def allocate():
    together.wait()
    c.malloc(10_000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
[one.start() for one in threads], [one.join() for one in threads]
out = c.fopen(b"/dev/stdout", b"w")
c.malloc_info(0, ctypes.c_void_p(out))
c.fclose(ctypes.c_void_p(out))
"""


def arena_count(*arguments):
    command = [sys.executable, "-c", ARENAS_OF_EIGHT_THREADS, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.count("<heap nr=")


def test_the_threads_of_a_qkde_share_one_arena():
    assert arena_count() > 1, "else this test shows nothing"
    assert arena_count("shared") == 1
