"""A pool of workers: jobs are shared, and those of a worker that dies are done by another."""

from __future__ import annotations

import re
import signal

from examples.conftest import Begin

Done = dict[int, tuple[int, str]]


def results(lines: list[str]) -> Done:
    """By job how many primes there are, and who has counted them."""
    found = (re.fullmatch(r"job (\d+): (\d+) primes, by (\w+)", line) for line in lines)
    return {int(each[1]): (int(each[2]), each[3]) for each in found if each}


def test_jobs_are_shared_and_each_is_done_once(begin: Begin, free_port: int) -> None:
    url = f"ws://127.0.0.1:{free_port}/wse"
    begin("workers/server.py", "--port", free_port, "--patience", 30).wait_for_port(free_port)
    for name in ("one", "two"):
        begin("workers/worker.py", "--url", url, "--name", name).wait_for_line("waits for jobs")
    order = begin("workers/order.py", 40, "--url", url)
    assert order.wait_for_line("all done") == "all done: one 20, two 20"
    assert order.wait() == 0
    done = results(order.lines)
    assert sorted(done) == list(range(1, 41))
    assert done[1][0] == 168  # below a thousand


def test_the_job_of_a_worker_that_hangs_is_done_by_another(begin: Begin, free_port: int) -> None:
    url = f"ws://127.0.0.1:{free_port}/wse"
    begin("workers/server.py", "--port", free_port, "--patience", 0.5).wait_for_port(free_port)
    hangs = begin("workers/worker.py", "--url", url, "--name", "first")
    hangs.wait_for_line("waits for jobs")
    hangs.send_signal(signal.SIGSTOP)
    try:
        begin("workers/worker.py", "--url", url, "--name", "second").wait_for_line("waits for jobs")
        order = begin("workers/order.py", 10, "--url", url)
        assert order.wait_for_line("all done") == "all done: second 10"
        assert order.wait() == 0
    finally:
        hangs.send_signal(signal.SIGCONT)
