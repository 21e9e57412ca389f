"""Starts the stand-in for a stock server (`stock_server/`) and asks it."""

import concurrent.futures
import contextlib
import fcntl
import os
import re
import shutil
import struct
import subprocess
import threading
import typing
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

SOURCES = Path(__file__).parent / "stock_server"
HAS_COMPILER = shutil.which("gcc") is not None
TIMEOUT = 120  # of a whole answer, in seconds: it is there or never comes
# Codes of errors, as TensorFlow numbers them.
INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = 3, 4, 5
FAILED_PRECONDITION = 9


class Reply(typing.NamedTuple):
    """What came back: arrays by name, or why there are none."""

    code: int
    message: str
    rows: int  # of the batch that was run, filled up
    outputs: dict


def built_in(folder):
    """Returns the program, compiled once for all processes that test."""
    program = folder / "stock_server"
    with open(folder / "stock_server.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            library = Path(tf.__file__).parent
            subprocess.run(
                ["gcc", "-O2", "-Wall", "-Werror", "-pthread"]
                + [f"-I{library / 'include'}", *sorted(SOURCES.glob("*.c"))]
                + ["-o", program, f"-L{library}", "-l:libtensorflow_cc.so.2"]
                + ["-l:libtensorflow_framework.so.2", f"-Wl,-rpath,{library}"],
                check=True,
            )
    return program


def signatures_of(folder):
    """Returns the signatures of a SavedModel, as the server reads them."""
    data = (Path(folder) / "saved_model.pb").read_bytes()
    saved = saved_model_pb2.SavedModel.FromString(data)
    found = dict(saved.meta_graphs[0].signature_def)
    return {n: s for n, s in found.items() if not n.startswith("__")}


class StockServer:
    """A running server. Any number of threads may ask it.

    Args:
        program: path of the compiled program.
        **environment: variables that it has besides those of this process.
    """

    def __init__(self, program, **environment):
        self.process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        self._waiting, self._count, self._loaded = {}, 0, set()
        self._lock = threading.Lock()
        threading.Thread(target=self._read_replies, daemon=True).start()

    def close(self):
        """Ends the server; a crash that it had is an error here."""
        self.process.stdin.close()
        assert self.process.wait(TIMEOUT) == 0
        self.process.stdout.close()

    def resident(self):
        """MiB of the server in memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def in_use(self):
        """MiB that the server has allocated and not freed."""
        return self._good("memory").rows / 2**20

    def load(self, version, folder):
        return self._good("load", _text(version), _text(folder), _table(folder))

    def load_once(self, version, folder):
        """Loads what stays until the server ends, under a name for all."""
        if version not in self._loaded:
            self.load(version, folder)
            self._loaded.add(version)

    def serve(self, version):
        """From now on a request that names no version goes to this one."""
        return self._good("serve", _text(version))

    def unload(self, version):
        return self._good("unload", _text(version))

    @contextlib.contextmanager
    def joining(self, max_rows, wait_micros, allowed=()):
        """Within it, requests that wait together are joined.

        Args:
            max_rows: rows of a batch, at most; 0 = each request runs alone.
            wait_micros: how long a batch waits until it is full.
            allowed: numbers of rows that a batch is filled up to, ascending.
        """
        numbers = (max_rows, wait_micros, len(allowed), *allowed)
        self._good("batch", *map(_number, numbers))
        try:
            yield
        finally:
            self._good("batch", *map(_number, (0, 0, 0)))

    def ask(self, signature, inputs, version="", timeout=0):
        """Returns the arrays that answer one request, which must be good."""
        reply = self.send(signature, inputs, version, timeout).result(TIMEOUT)
        assert reply.code == 0, reply.message
        return reply.outputs

    def refusal(self, signature, inputs, version="", timeout=0):
        """Returns the code of the error of a request, 0 = it was answered."""
        return (
            self.send(signature, inputs, version, timeout).result(TIMEOUT).code
        )

    def send(self, signature, inputs, version="", timeout=0):
        """Returns a future `Reply`; see `ask`.

        Args:
            signature: its name.
            inputs: arrays by name; of strings those of bytes.
            version: "" = the one that is served.
            timeout: milliseconds that the session may take; 0 = all.
        """
        pairs = [
            part
            for name, array in inputs.items()
            for part in (_text(name), _tensor(np.asarray(array)))
        ]
        return self._send(
            "run",
            *(_text(version), _text(signature)),
            *(_number(timeout), _number(len(inputs)), *pairs),
        )

    def _good(self, *command):
        reply = self._send(*command).result(TIMEOUT)
        assert reply.code == 0, reply.message
        return reply

    def _send(self, command, *parts):
        future = concurrent.futures.Future()
        with self._lock:
            self._count += 1
            self._waiting[self._count] = future
            data = _number(self._count) + _text(command) + b"".join(parts)
            self.process.stdin.write(data)
            self.process.stdin.flush()
        return future

    def _read_replies(self):
        stream = self.process.stdout
        while header := stream.read(8):
            (number,) = struct.unpack("<q", header)
            code, message = _read_number(stream), _read_text(stream)
            rows, count = _read_number(stream), _read_number(stream)
            outputs = {
                _read_text(stream).decode(): _read_tensor(stream)
                for _ in range(count)
            }
            reply = Reply(code, message.decode(), rows, outputs)
            with self._lock:
                future = self._waiting.pop(number)
            future.set_result(reply)
        for future in self._waiting.values():
            future.set_exception(RuntimeError("The server ended."))


def _number(value):
    return struct.pack("<q", value)


def _text(value):
    data = value if isinstance(value, bytes) else str(value).encode()
    return _number(len(data)) + data


def _tensor(array):
    dtype = tf.as_dtype(array.dtype)
    data = [_number(n) for n in (dtype.as_datatype_enum, array.ndim)]
    data += map(_number, array.shape)
    if dtype == tf.string:
        data += map(_text, array.ravel().tolist())
    else:
        data.append(np.ascontiguousarray(array).tobytes())
    return b"".join(data)


def _table(folder):
    """Each signature with the tensors of its inputs and outputs."""
    signatures = signatures_of(folder)
    data = [_number(len(signatures))]
    for name, signature in signatures.items():
        data.append(_text(name))
        for tensors in (signature.inputs, signature.outputs):
            data.append(_number(len(tensors)))
            for key, info in tensors.items():
                operation, index = info.name.split(":")
                data += [_text(key), _text(operation), _number(int(index))]
    return b"".join(data)


def _read_number(stream):
    return struct.unpack("<q", stream.read(8))[0]


def _read_text(stream):
    return stream.read(_read_number(stream))


def _read_tensor(stream):
    dtype = tf.as_dtype(_read_number(stream))
    shape = [_read_number(stream) for _ in range(_read_number(stream))]
    count = int(np.prod(shape))
    if dtype == tf.string:
        strings = [_read_text(stream) for _ in range(count)]
        array = np.empty(count, object)
        array[:] = strings
        return array.reshape(shape)
    dtype = np.dtype(dtype.as_numpy_dtype)
    data = stream.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape)
