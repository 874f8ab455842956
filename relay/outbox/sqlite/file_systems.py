"""Which file system a file stands on, as far as Linux tells: some are no place for a database."""

import logging
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
OVER_A_NETWORK = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "lustre",
        "beegfs",
        "ocfs2",
        "gfs2",
    }
    | {f"fuse.{name}" for name in ("sshfs", "glusterfs", "s3fs", "rclone", "ceph", "juicefs")}
)
log = logging.getLogger(__name__)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def warn_of_network(path: Path, mounts: Path = MOUNTS) -> None:
    """It works as a rule, so it is no reason not to start."""
    if kind := network_file_system(path, mounts):
        log.warning(
            "%s stands on a network file system (%s), where locks and syncs may not hold: "
            "a crash may damage it. Put it on a local disk, or use a PostgreSQL server",
            path,
            kind,
        )


def network_file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """Its kind, such as `nfs4`; empty for one of this machine, and where nobody tells."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
        place = path.resolve()
    except OSError:
        return ""
    nearest, kind = -1, ""
    for line in lines:
        mount, _, rest = line.partition(" - ")
        fields = mount.split(" ")
        if len(fields) < 5 or not rest:
            continue
        point = Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        # Of two at one place the later one hides the earlier.
        if place.is_relative_to(point) and len(point.parts) >= nearest:
            nearest, kind = len(point.parts), rest.split(" ")[0]
    return kind if kind in OVER_A_NETWORK else ""
