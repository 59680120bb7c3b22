"""What the writing commands remember: on disk, over crashes, and over clocks that are set back."""

import json
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from time import monotonic

import pytest
from helpers.support import Clock

from ccl_exporter.control.night import Night
from ccl_exporter.control.state import JOURNAL, ControlState, Override, PendingRestore, WriteEntry
from ccl_exporter.errors import StateError, TimedOut
from ccl_exporter.locks import try_lock

URL = "http://192.0.2.10"
RESTORE = PendingRestore("Box", {"Box.A": 0.0}, {"Box.A": 50.0}, 1000.0)


@pytest.fixture
def control_state(tmp_path: Path) -> ControlState:
    return ControlState(tmp_path, URL, Clock(1000.0))


def test_when_a_variable_was_written_is_known_to_the_next_command(control_state: ControlState) -> None:
    control_state.note_written(["Box.A"])
    later = ControlState(control_state.folder, URL, Clock(1042.0))

    assert later.seconds_since("Box.A") == 42
    assert later.seconds_since("Box.B") is None
    assert ControlState(control_state.folder, "http://192.0.2.11").seconds_since("Box.A") is None


def test_a_clock_that_was_set_back_forbids_nothing(control_state: ControlState) -> None:
    control_state.note_written(["Box.A"])

    assert ControlState(control_state.folder, URL, Clock(500.0)).seconds_since("Box.A") is None


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"written": null}', b'{"written": {"Box.A": "1"}}']
)
def test_a_damaged_memory_is_an_empty_one(control_state: ControlState, damage: bytes) -> None:
    control_state.note_written(["Box.A"])
    (file,) = control_state.folder.glob("writes/*/facts.json")
    file.write_bytes(damage)

    assert control_state.seconds_since("Box.A") is None
    control_state.note_written(["Box.A"])
    assert control_state.seconds_since("Box.A") == 0


def test_what_a_newer_version_stored_is_as_if_it_were_not_there(control_state: ControlState) -> None:
    control_state.set_override("EVSE.PLUG", 900.0)
    control_state.set_night("EVSE.PLUG", Night(500.0))
    (file,) = control_state.folder.glob("writes/*/facts.json")
    facts = json.loads(file.read_text())
    facts["overrides"]["EVSE.PLUG"]["newer"] = facts["nights"]["EVSE.PLUG"]["newer"] = 1.0
    file.write_text(json.dumps(facts))

    assert control_state.override("EVSE.PLUG") is None
    assert control_state.night("EVSE.PLUG", 500.0) == Night(500.0)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateError, match=r"cannot be written .*set STATE_DIRECTORY"):
        ControlState(tmp_path / "file" / "folder", URL)


def test_a_folder_of_another_user_is_said_before_anything_is_written(control_state: ControlState) -> None:
    (own,) = control_state.folder.glob("writes/*")
    (own / "lock").unlink()
    (own / "lock").mkdir()

    with pytest.raises(StateError, match=r"cannot be written .*set STATE_DIRECTORY"):
        ControlState(control_state.folder, URL)


def test_a_folder_that_can_no_longer_be_written_is_said(control_state: ControlState) -> None:
    with control_state.pending(RESTORE) as done:
        control_state.folder.rename(control_state.folder.with_name("gone"))
        control_state.folder.write_text("")
        with pytest.raises(StateError, match="cannot be written"), control_state.exclusive(monotonic() + 5):
            pass
        with pytest.raises(StateError, match="cannot be written"), control_state.pending(RESTORE):
            pass
        with pytest.raises(StateError, match="cannot be written"):
            done()


def test_a_concurrent_write_loses_nothing_of_others(control_state: ControlState) -> None:
    control_state.set_override("P", 900.0)
    lost: list[str] = []

    def write(who: str) -> None:
        mine = ControlState(control_state.folder, URL, Clock(1000.0))
        for number in range(30):
            take_back = mine.note_written([f"{who}.{number}"])
            if number % 2:
                take_back()
        known = [mine.seconds_since(f"{who}.{number}") is not None for number in range(30)]
        lost.extend(f"{who}.{number}" for number, is_known in enumerate(known) if is_known == number % 2)

    writers = [threading.Thread(target=write, args=(who,)) for who in ("A", "B")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert lost == []
    assert control_state.seconds_since("A.28") == control_state.seconds_since("B.28") == 0
    assert control_state.override("P") == Override(900.0, 1000.0)


def test_two_commands_do_not_write_at_once(control_state: ControlState) -> None:
    other = ControlState(control_state.folder, URL)
    with (
        control_state.exclusive(monotonic() + 5),
        pytest.raises(TimedOut, match="another command was writing"),
        other.exclusive(monotonic() + 0.1),
    ):
        pass
    with control_state.exclusive(monotonic() + 5):
        pass


class TestPendingRestores:
    def test_one_that_a_command_holds_is_not_given_to_another(self, control_state: ControlState) -> None:
        with control_state.pending(RESTORE) as done:
            with control_state.pending_restores() as pending:
                assert pending == []
            done()
        with control_state.pending_restores() as pending:
            assert pending == []

    def test_one_that_was_left_behind_by_a_kill_is_found_once(self, control_state: ControlState) -> None:
        ready = multiprocessing.get_context("fork").Event()
        child = os.fork()
        if child == 0:
            with control_state.pending(RESTORE):
                ready.set()
                signal.pause()
        assert ready.wait(10)
        with control_state.pending_restores() as pending:
            assert pending == []
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

        with control_state.pending_restores() as pending:
            ((way, done),) = pending
            assert way == RESTORE
            done()
        with control_state.pending_restores() as pending:
            assert pending == []

    def test_one_that_is_only_just_stored_is_not_taken_for_that_of_a_killed_command(
        self, control_state: ControlState
    ) -> None:
        over = threading.Event()
        taken: list[PendingRestore] = []

        def look() -> None:
            other = ControlState(control_state.folder, URL, Clock(1000.0))
            while not over.is_set():
                with other.pending_restores() as pending:
                    taken.extend(way for way, _ in pending)

        looking = threading.Thread(target=look)
        looking.start()
        for _ in range(200):
            with control_state.pending(RESTORE) as done:
                done()
        over.set()
        looking.join()

        assert taken == []

    def test_one_that_an_early_version_left_behind_is_pending_too(self, control_state: ControlState) -> None:
        with control_state.pending(RESTORE):
            pass
        (file,) = control_state.folder.glob("writes/*/back-*.json")
        file.write_text(json.dumps({**json.loads(file.read_text()), "until": 4600.0}))

        with control_state.pending_restores() as pending:
            assert [way for way, _ in pending] == [RESTORE]

    @pytest.mark.parametrize("damage", ["{", "[]", "5", '{"device": "Box"}'])
    def test_one_that_is_damaged_is_passed_over(self, control_state: ControlState, damage: str) -> None:
        with control_state.pending(RESTORE):
            pass
        (file,) = control_state.folder.glob("writes/*/back-*.json")
        file.write_text(damage)

        with control_state.pending_restores() as pending:
            assert pending == []


class TestTheJournal:
    ENTRY = WriteEntry(URL, ["Box.A"], [0.0], [50.0], [50.0], "done", "set")

    def test_each_write_is_a_line_with_when_who_and_what(
        self, control_state: ControlState, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SUDO_USER", "anna")
        control_state.log_write(self.ENTRY)
        control_state.log_write(self.ENTRY)
        first, _ = (control_state.folder / JOURNAL).read_text().splitlines()

        assert json.loads(first) == {
            "time": "1970-01-01T00:16:40.000Z",
            "user": "anna",
            "id": "192.0.2.10:80",
            "charger": URL,
            "variables": ["Box.A"],
            "before": [0.0],
            "wanted": [50.0],
            "after": [50.0],
            "result": "done",
            "command": "set",
        }

    def test_the_systems_journal_gets_it_too(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
            system.bind(str(tmp_path / "log"))
            ControlState(tmp_path, URL, system_log=tmp_path / "log").log_write(self.ENTRY)
            said = system.recv(65536).decode()

        assert said.startswith("<13>ccl-exporter[")
        assert '"variables": ["Box.A"]' in said

    def test_a_line_that_a_full_disk_has_cut_takes_no_other_line_with_it(
        self, control_state: ControlState
    ) -> None:
        (control_state.folder / JOURNAL).write_text('{"time": "2026-')
        control_state.log_write(self.ENTRY)
        control_state.log_write(self.ENTRY)

        assert (control_state.folder / JOURNAL).read_bytes().count(b"\n") == 3
        assert len(control_state.written_lately("Box.A", 60.0)) == 2

    def test_without_a_system_journal_the_file_has_it_all_the_same(self, tmp_path: Path) -> None:
        ControlState(tmp_path, URL, system_log=tmp_path / "none").log_write(self.ENTRY)

        assert (tmp_path / JOURNAL).read_text().count("\n") == 1


def test_a_charge_that_is_to_go_on_and_the_start_of_a_night_are_kept(control_state: ControlState) -> None:
    control_state.set_override("P", 900.0)
    control_state.set_override("Q", None)
    night = Night(900.0, is_begun=True, restarts=(950.0,), failure="P: not charging")
    control_state.set_night("P", night)
    later = ControlState(control_state.folder, URL)

    assert later.override("P") == Override(900.0, 1000.0)
    assert later.override("Q") == Override(None, 1000.0)
    assert later.night("P", 900.0) == night
    assert later.night("P", 1000.0) == Night(1000.0)
    assert later.night("Q", 900.0) == Night(900.0)
    later.clear_override("P")
    later.clear_override("P")
    assert control_state.override("P") is None


class TestIdentity:
    IDS = ("B", "A")
    MOVED = "http://192.0.2.77:8080/engine"

    def test_commands_that_name_one_charger_differently_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        with multiprocessing.Pool(2) as pool:
            pool.starmap(_identify, [(tmp_path, host, self.IDS) for host in ("127.0.0.1", "localhost")])

    @staticmethod
    def left_by_version_0_1(folder: Path) -> Path:
        """The control state of a charger by its URL, with a pending restore that no command holds."""
        old = folder / "writes" / sha256(URL.encode()).hexdigest()[:16]
        old.mkdir(parents=True)
        (old / "back-1-2.0.json").write_text(json.dumps(asdict(RESTORE)))
        (old / "facts.json").write_text(json.dumps({"written": {"Box.A": 990.0}}))
        return old

    def test_a_charger_keeps_its_memory_at_another_address(self, control_state: ControlState) -> None:
        control_state.identify(self.IDS)
        control_state.note_written(["Box.A"])
        with control_state.pending(RESTORE):
            pass
        moved = ControlState(control_state.folder, self.MOVED, Clock(1042.0))
        moved.identify(self.IDS)

        assert moved.seconds_since("Box.A") == 42
        with moved.pending_restores() as pending:
            assert [way for way, _ in pending] == [RESTORE]
        with control_state.exclusive(monotonic() + 5), pytest.raises(TimedOut), moved.exclusive(monotonic() + 0.1):
            pass

    def test_a_charger_that_does_not_say_which_it_is_is_the_one_that_answered_last(
        self, control_state: ControlState
    ) -> None:
        control_state.identify(self.IDS)
        control_state.note_written(["Box.A"])

        later = ControlState(control_state.folder, "http://192.0.2.10:80/")
        assert later.id == "A"
        later.identify(None)
        assert later.id == "A"
        assert later.seconds_since("Box.A") is not None

    def test_the_facts_of_version_0_1_stay_for_it_and_count_again_if_it_wrote_them_anew(
        self, tmp_path: Path
    ) -> None:
        facts = self.left_by_version_0_1(tmp_path) / "facts.json"
        kept = facts.read_text()
        state = ControlState(tmp_path, URL, Clock(1042.0))
        state.identify(self.IDS)
        assert state.seconds_since("Box.A") == 52
        state.note_written(["Box.A"])
        state.identify(self.IDS)
        assert (state.seconds_since("Box.A"), facts.read_text()) == (0, kept)

        facts.write_text(json.dumps({"written": {"Box.A": 1000.0}}))
        state.identify(self.IDS)
        assert state.seconds_since("Box.A") == 42

    def test_another_charger_at_an_address_has_a_memory_of_its_own(self, control_state: ControlState) -> None:
        control_state.identify(self.IDS)
        control_state.note_written(["Box.A"])
        control_state.identify(["Z"])

        assert control_state.seconds_since("Box.A") is None
        control_state.identify(self.IDS)
        assert control_state.seconds_since("Box.A") == 0

    def test_of_two_chargers_with_one_id_each_has_the_memory_of_its_address(
        self, control_state: ControlState
    ) -> None:
        said: list[str] = []
        asked: list[tuple[str, str]] = []

        def has_id(url: str, id: str) -> bool:
            asked.append((url, id))
            return True

        control_state.identify(self.IDS, has_id)
        control_state.note_written(["Box.A"])
        with control_state.pending(RESTORE):
            pass
        copy = ControlState(control_state.folder, self.MOVED, Clock(1042.0), say=said.append)
        copy.identify(self.IDS, has_id)
        again = ControlState(control_state.folder, URL, Clock(1042.0))
        again.identify(self.IDS, has_id)
        copy.identify(self.IDS, has_id)

        assert (copy.id, again.id) == ("192.0.2.77:8080/engine", "192.0.2.10:80")
        assert (copy.seconds_since("Box.A"), again.seconds_since("Box.A")) == (None, 42)
        for state, expected in ((copy, []), (again, [RESTORE])):
            with state.pending_restores() as pending:
                assert [way for way, _ in pending] == expected
        with copy.exclusive(monotonic() + 5), again.exclusive(monotonic() + 5):
            pass
        assert asked == [(URL, "A")]
        assert ["the same plug ids" in line for line in said] == [True]

    def test_another_charger_with_an_id_of_its_own_is_no_copy(self, control_state: ControlState) -> None:
        control_state.identify(self.IDS, lambda url, id: True)
        copy = ControlState(control_state.folder, self.MOVED)
        copy.identify(self.IDS, lambda url, id: True)
        copy.identify(["Z"], lambda url, id: True)

        assert copy.id == "Z"

    def test_without_plug_ids_it_is_that_of_the_address(self, control_state: ControlState) -> None:
        control_state.identify([])
        control_state.note_written(["Box.A"])

        assert control_state.id == "192.0.2.10:80"
        assert ControlState(control_state.folder, f"{URL}:80").seconds_since("Box.A") is not None
        assert ControlState(control_state.folder, f"{URL}/other").seconds_since("Box.A") is None

    @pytest.mark.parametrize("ids", [IDS, (), None])
    def test_what_version_0_1_has_left_is_adopted(self, tmp_path: Path, ids: Sequence[str] | None) -> None:
        self.left_by_version_0_1(tmp_path)
        state = ControlState(tmp_path, URL, Clock(1000.0))
        state.identify(ids)

        assert state.seconds_since("Box.A") == 10
        with state.pending_restores() as pending:
            ((way, done),) = pending
            assert way == RESTORE
            done()
        state.identify(ids)
        with state.pending_restores() as pending:
            assert pending == []

    def test_it_is_known_before_the_charger_was_asked(self, tmp_path: Path) -> None:
        self.left_by_version_0_1(tmp_path)

        with ControlState(tmp_path, URL).pending_restores() as pending:
            assert [way for way, _ in pending] == [RESTORE]

    def test_what_a_running_command_of_version_0_1_sees_to_stays_with_it(self, tmp_path: Path) -> None:
        old = self.left_by_version_0_1(tmp_path)
        with (old / "back-1-2.0.json").open("r+") as held:
            assert try_lock(held)
            state = ControlState(tmp_path, URL)
            state.identify(self.IDS)
            with state.pending_restores() as pending:
                assert pending == []
        state.identify(self.IDS)
        with state.pending_restores() as pending:
            assert len(pending) == 1


def _identify(folder: Path, host: str, ids: Sequence[str]) -> None:
    for _ in range(200):
        ControlState(folder, f"http://{host}:9").identify(ids)
