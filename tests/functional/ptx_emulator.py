"""Runs PTX on a processor, one warp at a time: what the kernels use of it.

The thirty-two lanes are one NumPy array. Branches that lanes take differently
are refused, and so is each address outside of what is passed. What a GPU only
approximates (exponential, division) is exact to float32 here.
"""

import re

import numpy as np

LANES = np.arange(32)
BITS = {"%rd": np.uint64, "%r": np.uint32, "%p": np.bool_}
_LINE = re.compile(r"(?:@(!?)(%p\d+)\s+)?([\w.]+)\s*(.*);$")
_ARGUMENT = re.compile(r"\[.*?\]|\{.*?\}|[^,\s]+")
COMPARISONS = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}


def signed(kind):
    """Returns the dtype of a suffix such as "s32", "f32" or "b64"."""
    letter, size = kind[0], int(kind[1:]) // 8
    return np.dtype(f"{ {'s': 'i', 'f': 'f'}.get(letter, 'u') }{size}")


def run(text, grid, arrays):
    """Runs a kernel; writes into the arrays that are its results.

    Args:
        text: the PTX of one kernel of one warp.
        grid: how many programs there are, on three axes.
        arrays: an array for each parameter, contiguous.
    """
    with np.errstate(all="ignore"):
        program = parse(text)
        for z in range(grid[2]):
            for y in range(grid[1]):
                for x in range(grid[0]):
                    Warp(program, (x, y, z), grid, arrays).run()


def parse(text):
    """Returns instructions, and where each label stands among them."""
    body = text[text.index("{", text.index(".entry")) + 1 :]
    lines, labels = [], {}
    for line in body.splitlines():
        line = line.split("//")[0].strip()
        if line.endswith(":"):
            labels[line[:-1]] = len(lines)
        elif line and line != "}" and not line.startswith("."):
            negated, guard, name, rest = _LINE.match(line).groups()
            arguments = _ARGUMENT.findall(rest)
            lines.append((guard, bool(negated), name.split("."), arguments))
    return lines, labels


class Warp:
    def __init__(self, program, place, grid, arrays):
        self.lines, self.labels = program
        self.arrays = arrays
        # Each array lies at an address of its own, far from the others.
        self.starts = [(i + 1) << 40 for i in range(len(arrays))]
        self.shared = np.zeros(4096, np.uint8)
        self.registers = {"%tid.x": LANES.astype(np.uint32)}
        for axis, index, size in zip("xyz", place, grid, strict=True):
            self.registers[f"%ctaid.{axis}"] = np.full(32, index, np.uint32)
            self.registers[f"%nctaid.{axis}"] = np.full(32, size, np.uint32)

    def run(self):
        position = 0
        while True:
            guard, negated, name, arguments = self.lines[position]
            position += 1
            active = np.ones(32, bool)
            if guard:
                active = self.registers[guard] ^ negated
            if name[0] == "ret":
                return
            if name[0] == "bra":
                assert np.all(active == active[0]), "lanes part"
                if active[0]:
                    position = self.labels[arguments[0]]
                continue
            self.step(name, arguments, active)

    def step(self, name, arguments, active):
        operation, kind = name[0], name[-1]
        if operation == "bar":
            return
        if operation in ("ld", "st", "ldmatrix"):
            self.move(name, arguments, active)
            return
        target, *sources = arguments
        if operation == "shfl":
            mode, lane = name[2], self.read(sources[1], np.dtype("u4"))
            lane = lane ^ LANES.astype("u4") if mode == "bfly" else lane
            result = self.read(sources[0], np.dtype("u4"))[lane % 32]
        else:
            result = getattr(self, f"do_{operation}")(name, kind, sources)
        self.write(target, result, active)

    # --- registers -----------------------------------------------------------

    def read(self, text, dtype):
        """Returns an operand, as it is seen by the instruction."""
        if text in self.registers:
            bits = self.registers[text]
            if bits.dtype == np.bool_:
                return bits
            if bits.itemsize != dtype.itemsize:
                raise TypeError(f"{text} is not of {dtype}")
            return bits.view(dtype)
        if text.startswith("0f"):
            bits = np.full(32, int(text[2:], 16), np.uint32)
            return bits.view(dtype)
        if text == "global_smem":
            return np.zeros(32, dtype)
        number = int(text, 0) % 2 ** (8 * dtype.itemsize)
        return np.full(32, number, f"u{dtype.itemsize}").view(dtype)

    def write(self, target, result, active):
        dtype = BITS[re.match(r"%[a-z]+", target).group()]
        result = np.ascontiguousarray(result)
        if dtype != np.bool_:
            if result.itemsize != np.dtype(dtype).itemsize:
                raise TypeError(f"{target} = {result.dtype}")
            result = result.view(dtype)
        before = self.registers.get(target, np.zeros(32, dtype))
        self.registers[target] = np.where(active, result, before)

    # --- memory --------------------------------------------------------------

    def move(self, name, arguments, active):
        operation = name[0]
        if operation == "ld" and name[1] == "param":
            number = int(re.search(r"_(\d+)\]", arguments[1]).group(1))
            start = np.full(32, self.starts[number], np.uint64)
            self.write(arguments[0], start, active)
            return
        place, names = arguments if operation == "st" else arguments[::-1]
        address = self.address(place)
        names = names.strip("{} ").split(", ") if "{" in names else [names]
        if operation == "ldmatrix":  # eight rows of four words
            rows = address[LANES // 4] + (4 * (LANES % 4)).astype("u8")
            result = [self.word(int(x)).view("u4")[0] for x in rows]
            self.write(names[0].strip(), np.array(result, "u4"), active)
            return
        for offset, register in enumerate(names):
            self.words(
                operation, register.strip(), address + 4 * offset, active
            )

    def address(self, text):
        base, _, offset = text.strip("[] ").partition("+")
        base = base.strip()
        if base in self.registers:
            found = self.registers[base].astype("u8")
        else:
            found = np.zeros(32, "u8")  # global_smem
        return found + np.uint64(int(offset or 0))

    def words(self, operation, register, address, active):
        if operation == "st":
            values = self.read(register, np.dtype("u4"))
            for lane in np.flatnonzero(active):
                word = self.word(int(address[lane]))
                word[:] = values[lane : lane + 1].view("u1")
            return
        values = np.zeros(32, "u4")
        for lane in np.flatnonzero(active):
            values[lane] = self.word(int(address[lane])).view("u4")[0]
        self.write(register, values, active)

    def word(self, address):
        """Returns four bytes, a view."""
        number, offset = (address >> 40) - 1, address & (2**40 - 1)
        array = self.shared if number < 0 else self.arrays[number]
        memory = array.reshape(-1).view(np.uint8)
        assert offset % 4 == 0 and offset + 4 <= memory.size, "outside"
        return memory[offset : offset + 4]

    # --- arithmetic ----------------------------------------------------------

    def all(self, kind, sources):
        return [self.read(source, signed(kind)) for source in sources]

    def do_mov(self, name, kind, sources):
        return self.all(kind, sources)[0]

    def do_add(self, name, kind, sources):
        left, right = self.all(kind, sources)
        return left + right

    def do_sub(self, name, kind, sources):
        left, right = self.all(kind, sources)
        return left - right

    def do_mul(self, name, kind, sources):
        left, right = self.all(kind, sources)
        return wide(left) * wide(right) if name[1] == "wide" else left * right

    def do_mad(self, name, kind, sources):
        product = self.do_mul(name, kind, sources[:2])
        return product + self.read(sources[2], product.dtype)

    def do_fma(self, name, kind, sources):
        left, right, more = (x.astype("f8") for x in self.all(kind, sources))
        return (left * right + more).astype("f4")

    def do_div(self, name, kind, sources):
        left, right = self.all(kind, sources)
        if kind == "f32":
            return left / right
        return (left / right.astype("f8")).astype(left.dtype)  # to zero

    def do_rcp(self, name, kind, sources):
        return np.float32(1) / self.all(kind, sources)[0]

    def do_ex2(self, name, kind, sources):
        return np.exp2(self.all(kind, sources)[0])

    def do_max(self, name, kind, sources):
        return np.fmax(*self.all(kind, sources))

    def do_min(self, name, kind, sources):
        return np.fmin(*self.all(kind, sources))

    def do_and(self, name, kind, sources):
        return np.bitwise_and(*self.logical(kind, sources))

    def do_or(self, name, kind, sources):
        return np.bitwise_or(*self.logical(kind, sources))

    def do_xor(self, name, kind, sources):
        return np.bitwise_xor(*self.logical(kind, sources))

    def logical(self, kind, sources):
        if kind == "pred":
            return [self.registers[source] for source in sources]
        return self.all(kind, sources)

    def do_shl(self, name, kind, sources):
        return self.read(sources[0], signed(kind)) << np.array(
            int(sources[1]), signed(kind)
        )

    def do_bfe(self, name, kind, sources):
        first, count = map(int, sources[1:])
        found = self.read(sources[0], signed(kind)) >> np.uint32(first)
        return found & np.uint32(2**count - 1)

    def do_setp(self, name, kind, sources):
        return COMPARISONS[name[1]](*self.all(kind, sources))

    def do_selp(self, name, kind, sources):
        yes, no = self.all(kind, sources[:2])
        return np.where(self.registers[sources[2]], yes, no)

    def do_cvt(self, name, kind, sources):
        target = signed(name[-2])
        return self.read(sources[0], signed(kind)).astype(target)


def wide(tensor):
    return tensor.astype(f"{tensor.dtype.kind}8")
