"""Tests run on the host's processor and fork nothing; what an accelerator does is seen in a process of its own."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import launching
import on_accelerator
import pytest
from builders import build_session

ASKS = """
import sys, torch

def asked(*given, **named):
    raise SystemExit("a device was asked for")

names = ("is_available", "device_count", "init", "_lazy_init", "current_device", "get_device_properties")
for owner, name in [(torch.cuda, name) for name in names] + [(torch.accelerator, "is_available")]:
    setattr(owner, name, asked)
for name in sys.argv[1:]:
    __import__(name)
print("none")
"""


def test_no_test_forks():
    for fork in (os.fork, os.forkpty, multiprocessing.get_context("fork").Process(target=int).start):
        with pytest.raises(RuntimeError, match=r"^a test forks; "):
            fork()


def program(*words):
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, timeout=10 * launching.SECONDS
    )
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


def test_the_server_that_forks_has_met_no_device():
    assert program("-c", ASKS, *launching.PRELOADED) == "none\n"
    assert program("-c", ASKS + "torch.cuda.is_available()") == "none\na device was asked for\n"


def test_the_tests_themselves_are_on_the_processor(tmp_path):
    assert build_session(tmp_path).accelerator.device.type == "cpu"


def test_every_search_runs_on_the_accelerator_there_is(tmp_path, devices):
    found = program(str(Path(on_accelerator.__file__)), str(tmp_path))
    if found == "none\n":
        pytest.skip("there is no accelerator here that torch can use")
    assert found.splitlines()[-1].isdigit(), found
