"""A database on a network file system is warned of."""

from pathlib import Path

import pytest

from relay.outbox.sqlite.file_loss import network_file_system, warn_of_network

MOUNTS = r"""
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:21 / /proc rw - proc proc rw
31 22 0:40 / /srv/team\040files rw - nfs4 files:/team rw,vers=4.2
32 31 254:2 / /srv/team\040files/fast rw master:7 - xfs /dev/vdb rw
33 22 0:41 / /mnt/share rw - ext4 /dev/vdc rw
34 33 0:42 / /mnt/share rw - cifs //nas/share rw
35 22 0:43 / /mnt/far rw - fuse.sshfs me@far: rw
half a line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/relay/relay.db", ""),
        ("/srv/team files/relay.db", "nfs4"),
        ("/srv/team filesystem/relay.db", ""),
        ("/srv/team files/fast/relay.db", ""),
        ("/mnt/share/a/b/relay.db", "cifs"),
        ("/mnt/far/relay.db", "fuse.sshfs"),
    ],
)
def test_the_nearest_mount_says_whether_a_file_is_reached_over_a_network(
    tmp_path: Path, path: str, kind: str
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS, "utf-8")
    assert network_file_system(Path(path), mounts) == kind


def test_the_relay_warns_of_it_and_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ST-16."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS, "utf-8")
    warn_of_network(Path("/var/lib/relay/relay.db"), mounts)
    assert caplog.text == ""
    warn_of_network(Path("/mnt/share/relay.db"), mounts)
    assert "/mnt/share/relay.db stands on a network file system (cifs)" in caplog.text
    assert "Put it on a local disk, or use a PostgreSQL server" in caplog.text


def test_where_nobody_tells_there_is_none(tmp_path: Path) -> None:
    assert network_file_system(tmp_path, tmp_path / "nothing") == ""


def test_this_machines_own_mounts_can_be_read(tmp_path: Path) -> None:
    assert network_file_system(tmp_path) == ""
