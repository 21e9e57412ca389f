"""What a crash would leave on the disk, at each file-system event of a run.

    with Trace(folder) as trace:
        train(pairs, folder / "model")
    for state in trace.killed(draw) + trace.without_power(draw):
        state.write(elsewhere)

Nothing is timed: before each event that changes the folder, and before each
`fsync`, the whole folder is noted. From these notes follows what two kinds of
crash may leave:

- The process is killed. What it wrote is there, up to any byte.
- The power fails. The content of a file is safe once the file was synced, and
  the entries of a folder once the folder was. Of what came later any part may
  be there: of each folder the entries of some moment since, of each file its
  content as it was then, none, or a part. A rename is there in both of its
  folders or in none.
"""

import bisect
import functools
import hashlib
import os
import pathlib
import re
import sys
import typing

import pytest

from keras_attention import files

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
TEMPORARY = ".tmp-"  # in the name of a temporary folder, then random letters
RANDOM_NAME = re.compile(rf"({re.escape(TEMPORARY)})[^/]+")


class State(typing.NamedTuple):
    """What is in a folder after a crash."""

    number: int  # of the event before which it crashed
    kind: str  # "killed", or what a loss of power left
    tree: dict  # {relative path: content, None of a folder}

    def write(self, folder: pathlib.Path) -> None:
        """Fills a folder that is empty."""
        for name in sorted(self.tree):  # a folder before what is in it
            content = self.tree[name]
            if content is None:
                (folder / name).mkdir()
            else:
                (folder / name).write_bytes(content)

    def inside(self, name: str) -> dict | None:
        """Returns the tree of a folder in it; None if there is none."""
        if self.tree.get(name, b"") is not None:
            return None
        start = f"{name}/"
        return {
            path.removeprefix(start): content
            for path, content in self.tree.items()
            if path.startswith(start)
        }

    def digest(self, leftovers: bool = True) -> str:
        """Returns what is equal for states that differ in random names.

        Args:
            leftovers: whether what is in temporary folders counts, too.
        """
        digest = hashlib.sha256()
        for name in sorted(self.tree):
            content = self.tree[name]
            stable = RANDOM_NAME.sub(r"\1", name)
            if not leftovers and "/" in stable.partition(TEMPORARY)[2]:
                continue
            size = -1 if content is None else len(content)
            digest.update(f"{stable}\0{size}\0".encode() + (content or b""))
        return digest.hexdigest()


def distinct(
    states: typing.Iterable[State], leftovers: bool = True
) -> list[State]:
    """Returns the first of all states that are alike; see `State.digest`."""
    found = {}
    for state in states:
        found.setdefault(state.digest(leftovers), state)
    return list(found.values())


def tree_of(folder: pathlib.Path) -> dict:
    """Returns {relative path: content, None of a folder}."""
    return {
        str(path.relative_to(folder)): None
        if path.is_dir()
        else path.read_bytes()
        for path in folder.rglob("*")
    }


class Node:
    """A file or a folder, wherever it is, and what was in it when.

    The values are bytes, or a dict from the names in a folder to nodes.
    """

    def __init__(self, is_folder: bool, is_safe: bool):
        self.is_folder = is_folder
        self._numbers, self._values = [], []  # where it changed
        self._synced = [-1] if is_safe else []

    def note(self, number: int, value: typing.Any) -> None:
        if not self._values or self._values[-1] != value:
            self._numbers.append(number)
            self._values.append(value)

    def sync(self, number: int) -> None:
        self._synced.append(number)

    def at(self, number: int) -> typing.Any:
        """Returns the value at an event; before it was there, the empty."""
        place = bisect.bisect_right(self._numbers, number)
        if place:
            return self._values[place - 1]
        return {} if self.is_folder else b""

    def changed_at(self, number: int) -> bool:
        return number > 0 and number in self._numbers

    def safe_at(self, number: int) -> int:
        """Returns the last event before one as of which all is synced."""
        place = bisect.bisect_left(self._synced, number)
        if not place:
            return -1
        return max(self._synced[place - 1], 0)


class Trace:
    """Notes a folder at each event that changes it, while in a `with` block.

    Args:
        root: path of a folder; what is in it is safe on the disk.
    """

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.events = []  # name of each
        self._of_inodes = {}  # nodes that are there: inodes are used again
        self._nodes = []  # all that ever were
        self._parents = {}  # {node: folder} of those that are there
        self._moves = []  # (number, folder before, folder after)

    def __enter__(self):
        self.note("begin")
        self._top = self._of_inodes[os.stat(self.root).st_ino]
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(os, "fsync", self._noting(os.fsync))
        exchange = self._noting(files._exchange)
        self._patch.setattr(files, "_exchange", exchange)
        _install_hook()
        _traced.append(self)
        return self

    def __exit__(self, *error):
        _traced.remove(self)
        self._patch.undo()
        self.note("end")

    def note(self, event: str) -> None:
        """Notes the folder as it is before an event."""
        number, found, parents = len(self.events), {}, {}
        self.events.append(event)
        self._visit(self.root, number, found, parents)
        for node, folder in parents.items():
            before = self._parents.get(node, folder)
            if before is not folder:
                self._moves.append((number, before, folder))
        self._of_inodes, self._parents = found, parents

    def killed(self, draw) -> list[State]:
        """Returns the states that a kill may leave.

        Args:
            draw: a `random.Random`, for the bytes where files are cut.
        """
        states = []
        for number in range(len(self.events)):
            entries = {n: n.at(number) for n in self._nodes}
            states.append(State(number, "killed", self._tree(entries)))
            for node in self._nodes:
                content = entries[node]
                if not node.is_folder and content and node.changed_at(number):
                    cut = content[: draw.randrange(len(content))]
                    tree = self._tree({**entries, node: cut})
                    states.append(State(number, "killed in a writing", tree))
        return distinct(states)

    def without_power(self, draw, several: int = 2) -> list[State]:
        """Returns the states that a loss of power may leave.

        Args:
            draw: a `random.Random`.
            several: number of random states for each event, besides the one
                where all is lost that was not synced, and the one where only
                the content of files is.
        """
        states = self.least()
        for number in range(len(self.events)):
            unsynced = self._powerless(
                number, lambda safe, now: now, lambda contents: contents[0]
            )
            states.append(State(number, "empty files", unsynced))
            for _ in range(several):
                tree = self._powerless(number, draw.randint, draw.choice, draw)
                states.append(State(number, "some of the changes", tree))
        return distinct(states)

    def as_it_was(self) -> list[State]:
        """Returns for each event what was there before it."""
        return [
            State(n, "killed", self._tree({x: x.at(n) for x in self._nodes}))
            for n in range(len(self.events))
        ]

    def least(self) -> list[State]:
        """Returns for each event what is there whatever happens."""
        return [
            State(
                number,
                "what is safe",
                self._powerless(
                    number, lambda safe, now: safe, lambda contents: contents[0]
                ),
            )
            for number in range(len(self.events))
        ]

    def _powerless(self, number, moment, choice, draw=None):
        """Returns a tree, where `moment` and `choice` say what is kept."""
        moments = {
            node: moment(node.safe_at(number), number)
            for node in self._nodes
            if node.is_folder
        }
        for when, *folders in self._moves * 2:
            latest = max(moments[folder] for folder in folders)
            if when <= number and latest >= when:  # there in one: in both
                for folder in folders:
                    moments[folder] = max(moments[folder], when)
        values = {}
        for node in self._nodes:
            if node.is_folder:
                values[node] = node.at(moments[node])
                continue
            safe, now = node.at(node.safe_at(number)), node.at(number)
            cut = draw.randrange(len(now)) if draw and now else 0
            lost = [safe] if safe == now else [safe, now, now[:cut]]
            values[node] = choice(lost)
        return self._tree(values)

    def _tree(self, values):
        tree, folders = {}, [("", self._top)]
        while folders:
            start, folder = folders.pop()
            for name, node in values[folder].items():
                path = f"{start}{name}"
                tree[path] = None if node.is_folder else values[node]
                if node.is_folder:
                    folders.append((f"{path}/", node))
        return tree

    def _visit(self, path, number, found, parents):
        """Notes a file or a folder with all that is in it; returns its node."""
        inode, is_folder = os.stat(path).st_ino, os.path.isdir(path)
        node = self._of_inodes.get(inode)
        if node is None or node.is_folder != is_folder:
            node = Node(is_folder, is_safe=number == 0)
            self._nodes.append(node)
        found[inode] = node
        if not is_folder:
            node.note(number, pathlib.Path(path).read_bytes())
            return node
        entries = {}
        for name in sorted(os.listdir(path)):
            child = self._visit(
                os.path.join(path, name), number, found, parents
            )
            entries[name] = child
            parents[child] = node
        node.note(number, entries)
        return node

    def _noting(self, function):
        """Returns the function; before it runs the folder is noted."""

        def noting(*arguments):
            self.note(function.__name__)
            if function.__name__ == "fsync":
                node = self._of_inodes.get(os.fstat(arguments[0]).st_ino)
                if node is not None:  # in the folder
                    node.sync(len(self.events) - 1)
            return function(*arguments)

        return noting

    def is_changed_by(self, event: str, arguments: tuple) -> bool:
        """Whether an audit event is one that changes the folder."""
        if event == "open" and not arguments[2] & FOR_WRITING:
            return False
        paths = [a for a in arguments if isinstance(a, (str, os.PathLike))]
        if any(str(path).startswith(str(self.root)) for path in paths):
            return True
        # `shutil.rmtree` names what it removes by a descriptor and a name.
        return event in ("os.remove", "os.rmdir") and arguments[-1] != -1


_traced = []  # what the hook tells; a hook is never removed


@functools.cache
def _install_hook():
    def hook(event, arguments):
        if _traced and (event == "open" or event in CHANGES):
            for trace in _traced:
                if trace.is_changed_by(event, arguments):
                    trace.note(event)

    sys.addaudithook(hook)
