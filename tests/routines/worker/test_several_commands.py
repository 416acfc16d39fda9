"""Several commands at once, and several workers."""

from tests.routines.worker.stub_server import LIMIT_S, read
from tests.waiting import exists, wait_for


def test_several_commands_run_at_once_and_their_lines_are_told_apart(stub, run_once, tmp_path):
    for _ in range(5):
        stub.open()
    together = f"""
        touch {tmp_path}/begun.$ROUTINES_ISSUE_IDENTIFIER
        until test $(ls {tmp_path}/begun.* | wc -l) -ge 3; do sleep 0.02; done
        echo out of $ROUTINES_ISSUE_IDENTIFIER"""

    result = run_once("sh", "-c", together, options=("--concurrency", "3"))

    assert 0 == result.exit_code, result.output
    assert {"done"} == {issue["status"] for issue in stub.issues.values()}
    for issue in stub.issues.values():
        assert f"  {issue['identifier']} | out of {issue['identifier']}\n" in result.output


def test_no_more_commands_run_at_once_than_it_is_told_and_no_issue_is_taken_before_there_is_room(stub, start, tmp_path):
    for _ in range(3):
        stub.open()
    start("sh", "-c", f"until test -e {tmp_path}/go; do sleep 0.05; done", options=("--concurrency", "2"))

    wait_for(lambda: stub.count("POST", "checkout") == 2)
    wait_for(lambda: stub.count("GET", "/issues/" + next(iter(stub.issues))) >= 2)
    assert ["in_progress", "in_progress", "todo"] == sorted(issue["status"] for issue in stub.issues.values())
    (tmp_path / "go").touch()
    wait_for(lambda: all(issue["status"] == "done" for issue in stub.issues.values()))


def test_a_stop_ends_all_commands_and_hands_all_issues_back(stub, start, tmp_path):
    for _ in range(3):
        stub.open()
    process = start("sh", "-c", f"echo $$ >> {tmp_path}/pids; exec sleep 600", options=("--concurrency", "3"))
    wait_for(lambda: len((read(tmp_path / "pids") or "").splitlines()) == 3)

    process.terminate()
    process.communicate(timeout=LIMIT_S)

    assert 0 == process.returncode
    assert {"todo"} == {issue["status"] for issue in stub.issues.values()}
    assert [] == list((tmp_path / "claims").iterdir())
    assert not any(exists(int(pid)) for pid in read(tmp_path / "pids").splitlines())


def test_with_once_one_failure_among_several_commands_is_told_by_the_exit_status(stub, run_once):
    for _ in range(3):
        stub.open()

    result = run_once("sh", "-c", "test $ROUTINES_ISSUE_IDENTIFIER != ACM-2", options=("--concurrency", "3"))

    assert 1 == result.exit_code
    assert ["cancelled", "done", "done"] == sorted(issue["status"] for issue in stub.issues.values())


def test_two_workers_at_once_run_each_issue_once(stub, start, tmp_path):
    for _ in range(6):
        stub.open()
    for _ in range(2):
        start("sh", "-c", f"echo $ROUTINES_ISSUE_IDENTIFIER >> {tmp_path}/ran")

    wait_for(lambda: all(issue["status"] == "done" for issue in stub.issues.values()))

    assert sorted(f"ACM-{number}" for number in range(1, 7)) == sorted(read(tmp_path / "ran").splitlines())
