"""Compiles, checks and times the groups of a plan, and prints as it goes."""

import gc
import json
import sys
import time

import jax

from gpu_parts import cases
from gpu_parts import jax_programs
from gpu_parts import torch_programs
from gpu_parts.clock import NoRoom
from gpu_parts.clock import time_in_turns
from gpu_parts.models import Decoding
from gpu_parts.models import Gradients
from gpu_parts.models import Training
from gpu_parts.plan import DECODING_KEY
from gpu_parts.plan import GRADIENTS_KEY
from gpu_parts.plan import TRAINING_KEY
from gpu_parts.tensorflow_programs import first_line

MODELS = {
    TRAINING_KEY: Training,
    GRADIENTS_KEY: Gradients,
    DECODING_KEY: Decoding,
}
COLUMNS = (
    *("case", "program", "ms", "TFLOP/s", "of the product", "MiB", "error"),
    *("compiled in s", "note"),
)


class Attention:
    """A group that is attention of one shape: how to compile and check it."""

    def __init__(self, group, number, written):
        self.case, self.written = group.case, written
        self.tensors = jax_programs.inputs(self.case, number)
        self.checked = jax_programs.checked_inputs(self.case, self.tensors)
        self.expected = cases.reference(self.case, self.checked)

    def compiled(self, name):
        if name.startswith("TensorFlow"):
            return self.written.compiled(name, self.case.key, self.tensors)
        if name in torch_programs.NAMES:
            return torch_programs.compiled(name, self.case, self.tensors)
        return jax_programs.compiled(name, self.case, self.tensors)

    def check(self, name, program):
        results = program.results(program.call(*self.checked))
        error = cases.error_of(cases.cut(self.case, results), self.expected)
        if not error <= self.case.tolerance:
            raise ValueError(f"wrong by {error:.1e}")
        return error

    def speed(self, milliseconds):
        operations = self.case.operations
        if operations is None:
            return {}
        return {"tflops": operations / milliseconds / 1e9}


class Model:
    """A group that is a model: training, or a search."""

    def __init__(self, group, written):
        self.key, make = group.key, MODELS[group.key]
        self.model = make(group.sizes, written)
        self.tensors, self.check = self.model.tensors, self.model.check

    def compiled(self, name):
        return self.model.compiled(name, self.key)

    def speed(self, milliseconds):
        speed = 1000 * self.model.tokens / milliseconds
        return {"note": f"{speed:.0f} tokens/s", "tokens_per_second": speed}


class Runner:
    """Runs groups, and keeps what it finds in `records`.

    Args:
        budget: a `Budget`.
        written: the programs of TensorFlow, `Written`.
        product: TFLOP/s of the device's matrix product.
        rounds: readings of each program, at most.
        log: file that gets a line of JSON for each result, or None.
    """

    def __init__(self, budget, written, product, rounds, log=None):
        self.budget, self.written = budget, written
        self.product, self.rounds, self.log = product, rounds, log
        self.records = {}

    def run(self, number, group):
        """Runs a group; nothing that a program raises ends the run."""
        gc.collect()  # what the group before held
        records = {name: {} for name in group.names}
        programs, twins = {}, {}
        try:
            self.budget.check()
            question = (
                Model(group, self.written)
                if group.case is None
                else Attention(group, number, self.written)
            )
        except Exception as error:
            for record in records.values():
                record["note"] = first_line(error)
        else:
            for name, record in records.items():
                self._prepare(question, name, record, programs, twins)
            self._time(question, records, programs, twins)
        for name, record in records.items():
            self._show(group.key, name, record)

    def _prepare(self, question, name, record, programs, twins):
        """Compiles and checks one program, or says why not."""
        before, start = jax_programs.peak_bytes(), time.perf_counter()
        try:
            self.budget.check()
            program = question.compiled(name)
            twin = _twin_of(program, programs)
            if twin is not None:
                twins[name] = twin
                return
            self.budget.started += 1
            record["seconds"] = time.perf_counter() - start
            record["memory"] = program.memory
            record["error"] = question.check(name, program)
            programs[name] = program
            print(f"{name}: checked", file=sys.stderr, flush=True)
        except Exception as error:
            record["note"] = first_line(error)
            if isinstance(error, NoRoom):
                record |= {"no_room": True, "memory": error.planned}
        after = jax_programs.peak_bytes()
        if before and after and after[1] > before[1]:
            # The most ever in use grew, so this call was that.
            record["measured_memory"] = after[1] - before[0]

    def _time(self, question, records, programs, twins):
        medians, failed = time_in_turns(programs, question.tensors, self.rounds)
        for name, error in failed.items():
            records[name]["note"] = first_line(error)
        for name, milliseconds in medians.items():
            records[name] |= {"ms": milliseconds} | question.speed(milliseconds)
        for name, other in twins.items():
            note = f"the same program as {other}"
            records[name].update(records[other] | {"note": note})

    def _show(self, key, name, record):
        self.records[key, name] = record
        rate = record.get("tflops")
        share = None if rate is None else 100 * rate / self.product
        memory = record.get("memory")
        cells = (
            _number(record.get("ms"), 3),
            _number(rate, 1),
            "" if share is None else f"{share:.0f}%",
            _number(None if memory is None else memory / 2**20, 0),
            "" if "error" not in record else f"{record['error']:.0e}",
            _number(record.get("seconds"), 1),
            record.get("note", ""),
        )
        print("| " + " | ".join((key, name, *cells)) + " |", flush=True)
        self.write({"case": key, "program": name, **record})

    def write(self, record):
        """Adds a line to the log, if there is one."""
        if self.log is not None:
            self.log.write(json.dumps(record) + "\n")
            self.log.flush()


def _twin_of(program, programs):
    """Returns the name of the program that is the same, or None."""
    for name, known in programs.items():
        if program.identity and program.identity == known.identity:
            return name
    return None


def _number(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def device_name():
    """Returns the name of the device that the programs run on."""
    device = jax.devices()[0]
    return f"{device.device_kind} ({device.platform})"
