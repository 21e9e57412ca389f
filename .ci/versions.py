"""Runs the core of the test-suite on other versions of what it stands on.

    python .ci/versions.py            # all environments
    python .ci/versions.py lowest     # those that are named

`lowest` has the lowest versions that setup.cfg accepts, on the oldest Python;
`newest-3.X` has the newest, on each Python that `make test` has not used;
`nightly` has the nightly build of Keras. Each environment is a folder in
`.venv-versions`, so that only the first run installs. The report names every
Python that is not on this machine and every package that cannot be fetched.
"""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-versions"
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
TOOLS = ["hypothesis", "pytest"]
# Every public name by its example (training and export among them), then what
# leans most on Keras and TensorFlow, and on the Python they run on.
CORE = [
    "keras_attention",
    "tests/decoding/test_sampling.py",
    "tests/decoding/test_scoring.py",
    "tests/layers/test_keras_multi_head_attention.py",
    "tests/layers/test_multi_head_attention.py",
    "tests/models/test_seq2seq.py",
    "tests/test_saved_by_0_1.py",
    "tests/test_text.py",
    "tests/training/test_losses.py",
]
# A Keras does not read the files of a later one.
LEFT_OUT = {"lowest": ["tests/test_saved_by_0_1.py"]}
PROBE = (
    "import json, platform, importlib.metadata as m;"
    "names = 'keras keras-nightly tensorflow numpy'.split();"
    "found = {d.name.lower(): d.version for d in m.distributions()};"
    "print(json.dumps({'Python': platform.python_version(),"
    " **{n: found[n] for n in names if n in found}}))"
)


def find_python(version):
    """Returns an interpreter of this version that runs, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders = os.environ["PATH"].split(os.pathsep)
    candidates = [Path(folder) / f"python{version}" for folder in folders]
    candidates += sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    code = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for candidate in filter(Path.exists, candidates):
        # The stand-in of a version manager exists, and may refuse to run.
        done = subprocess.run(
            [candidate, "-c", code], capture_output=True, text=True
        )
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    return None


def lowest_requirements():
    """Returns `name==version` for each lower bound in setup.cfg."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    required = settings["options"]["install_requires"].split()
    bounds = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in required]
    pins = [f"{bound[1]}=={bound[2]}" for bound in bounds if bound]
    # setup.cfg sets no bound for NumPy; its previous major version works.
    return [*pins, "numpy<2"]


def environments():
    """Returns {name: (Python version, requirements beside the package)}."""
    used = f"{sys.version_info.major}.{sys.version_info.minor}"
    others = [v for v in PYTHONS if v not in (PYTHONS[0], used)]
    return {
        "lowest": (PYTHONS[0], lowest_requirements()),
        **{f"newest-{version}": (version, []) for version in others},
        "nightly": (others[-1], ["keras-nightly"]),
    }


def install(name, python, requirements):
    """Makes the environment of this name; returns its Python."""
    folder = FOLDER / name
    inside, stamp = folder / "bin" / "python", folder / "installed.json"
    asked = json.dumps([str(python), requirements])
    if stamp.exists() and stamp.read_text() == asked:
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    pip = [inside, "-m", "pip", "-qq", "--disable-pip-version-check"]
    add = [*pip, "install", "--prefer-binary"]
    nightly = [r for r in requirements if r == "keras-nightly"]
    pins = [r for r in requirements if r not in nightly]
    subprocess.run([python, "-m", "venv", folder], check=True)
    subprocess.run(
        [*add, "--editable", f"{ROOT}[plots]", *TOOLS, *pins], check=True
    )
    if nightly:  # it is the module `keras` under another name
        subprocess.run([*pip, "uninstall", "--yes", "keras"], check=True)
        subprocess.run([*add, "--no-deps", "--pre", *nightly], check=True)
    stamp.write_text(asked)
    return inside


def run_core(name, python):
    """Runs the core; returns pytest's exit status and closing line."""
    paths = [path for path in CORE if path not in LEFT_OUT.get(name, [])]
    process = subprocess.Popen(
        [python, "-m", "pytest", "-q", "-m", "not exhaustive", *paths],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        stdout=subprocess.PIPE,
        text=True,
    )
    line = ""
    for line in process.stdout:
        print(line, end="", flush=True)
    return process.wait(), line.strip() or "no result"


def check(name, version, requirements):
    """Returns whether one environment failed, and what to say of it."""
    python = find_python(version)
    if python is None:
        return None, f"not run: no Python {version} on this machine"
    print(f"== {name}: Python {version}", flush=True)
    try:
        python = install(name, python, requirements)
    except subprocess.CalledProcessError:
        return None, "not run: it could not be installed (see above)"
    probe = subprocess.run([python, "-c", PROBE], stdout=subprocess.PIPE)
    versions = json.loads(probe.stdout)
    status, line = run_core(name, python)
    stands_on = ", ".join(f"{k} {v}" for k, v in versions.items())
    return status != 0, f"{stands_on}: {line}"


def main(names):
    known = environments()
    if unknown := set(names) - set(known):
        raise SystemExit(f"no environment {unknown}: name some of {[*known]}")
    results = {n: check(n, *known[n]) for n in known if not names or n in names}
    print("\n== Core of the test-suite")
    for name, (_, told) in results.items():
        print(f"{name:12} {told}")
    # Tomorrow's Keras is news, not yet one that the package accepts.
    promised = [failed for n, (failed, _) in results.items() if n != "nightly"]
    none_ran = all(failed is None for failed, _ in results.values())
    return int(True in promised or none_ran)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
