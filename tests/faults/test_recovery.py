"""Back to a moment: what docs/operate.md says of WAL and recovery, done with a real server."""

import re
from collections.abc import Callable
from pathlib import Path
from threading import Event
from time import monotonic

from tests.cluster import Server

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operate.md"


def documented(archive: Path, moment: str) -> list[str]:
    """The two blocks of settings in the document, for this archive and moment."""
    blocks = re.findall(r"^```ini\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    return [
        re.sub(
            r"(?m)^(recovery_target_time = ).*$", rf"\1'{moment}'", block.replace("/var/lib/aurum-wal", str(archive))
        )
        for block in blocks
    ]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 60
    while not condition():
        assert monotonic() < deadline
        Event().wait(0.05)


def test_a_dropped_table_comes_back_as_it_was_at_a_moment(make_server: Callable[..., Server]) -> None:
    primary = make_server("primary").initialise()
    archive = primary.folder.with_name("archive")
    archive.mkdir()
    archive.chmod(0o777)  # where the test is root, the server is another user
    configure(primary, documented(archive, "")[0])
    primary.start()
    primary.query("CREATE TABLE trades AS SELECT 1 AS id")
    copy = make_server("copy").copy(primary)
    primary.query("INSERT INTO trades VALUES (2)")
    [(moment,)] = primary.query("SELECT clock_timestamp()::text")
    primary.query("INSERT INTO trades VALUES (3)")
    primary.query("DROP TABLE trades")
    [(segment,)] = primary.query("SELECT pg_walfile_name(pg_current_wal_lsn())")
    primary.query("SELECT pg_switch_wal()")
    wait_until(lambda: (archive / segment).exists())
    primary.kill()

    (copy.folder / "standby.signal").unlink()
    (copy.folder / "recovery.signal").touch()
    configure(copy, documented(archive, moment)[1])
    copy.start()
    wait_until(lambda: copy.query("SELECT pg_is_in_recovery()") == [(False,)])
    assert copy.query("SELECT id FROM trades ORDER BY id") == [(1,), (2,)]
    copy.query("INSERT INTO trades VALUES (4)")  # it is a server like any other


def configure(server: Server, lines: str) -> None:
    with (server.folder / "postgresql.conf").open("a") as file:
        file.write(f"\n{lines}")
