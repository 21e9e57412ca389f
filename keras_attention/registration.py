"""Makes the layers and models of this package known to Keras.

`keras.models.load_model` finds a class by its name only after the module of
the class has been imported. So importing `keras_attention`, before `keras` or
after it, has to be enough; but `keras_attention` alone must not import Keras,
which takes seconds. Where Keras is not there yet, a finder at the head of
`sys.meta_path` waits for it, and goes when it has come.
"""

import importlib
import sys
import warnings

PACKAGE = __name__.partition(".")[0]
# What holds the registered classes.
MODULES = tuple(
    f"{PACKAGE}.{name}" for name in ("layers", "models", "migration")
)


def register() -> None:
    """Registers the classes with Keras, now or right after its import."""
    if _keras_is_imported():
        _import_modules()
    else:
        sys.meta_path.insert(0, _Finder())


def _keras_is_imported():
    return sys.modules.get("keras") is not None


def _import_modules():
    for name in MODULES:
        importlib.import_module(name)


class _Finder:
    """Gives `keras`, and what of this package may import it, a `_Loader`.

    The classes are registered at the end of the outermost import: in the
    middle of `import keras_attention.layers`, which imports Keras, the models
    could not be imported.
    """

    def __init__(self):
        self._running = 0

    def find_spec(self, name, path=None, target=None):
        if name != "keras" and name.rpartition(".")[0] != PACKAGE:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self)
                return spec
        return None

    def begin(self):
        self._running += 1

    def end(self):
        self._running -= 1
        if self._running or not _keras_is_imported():
            return
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            try:
                _import_modules()
            except Exception as error:  # no fault of Keras: let that load
                warnings.warn(
                    f"Keras cannot load models with layers of {PACKAGE}, "
                    f"which fails to import: {error!r}",
                    stacklevel=2,
                )


class _Loader:
    """Loads a module with its own loader, and tells the finder."""

    def __init__(self, loader, finder):
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name):  # `get_source` and the like
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._finder.begin()
        try:
            self._loader.exec_module(module)
        finally:
            self._finder.end()
