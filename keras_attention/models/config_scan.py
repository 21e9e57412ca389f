"""What a configuration would make Keras look up, before Keras does."""

import typing

import keras

from keras_attention.models import keras_classes

# Keras descends by recursion.
MAX_DEPTH = 200
# An error shows as many keys of the way to an entry.
SHOWN_KEYS = 12
# Values that Keras writes as objects; the rest of "__...__" hold code.
VALUES = frozenset(
    """
    __bytes__ __ellipsis__ __keras_tensor__ __numpy__ __slice__ __tensor__
    """.split()
)
# A free name could ask for 1 GB for each entry: "S1000000000".
DTYPES = frozenset(
    """
    bfloat16 bool complex64 complex128 float8_e4m3fn float8_e5m2 float16
    float32 float64 int4 int8 int16 int32 int64 string uint4 uint8 uint16
    uint32 uint64
    """.split()
)
WAY_OUT = (
    "If you trust the source of the file, give the class in `custom_objects`, "
    "register it with keras.saving.register_keras_serializable, or load the "
    "file with keras.saving.load_model."
)


def check_config(
    config: dict[str, typing.Any],
    custom_objects: dict[str, typing.Any] | None = None,
) -> dict[str, typing.Any]:
    """Checks that a configuration holds known classes alone.

    Known are classes that are registered in this process, as those of this
    package are, those in `custom_objects`, and the classes of Keras that
    read no file and hold no code.

    Args:
        config: a dict, parsed from JSON.
        custom_objects: dict from names to classes and functions.

    Returns:
        The registered and custom objects that it names, by their names.

    Raises:
        ValueError: if there is another class; the message says where.
    """
    custom_objects, named = custom_objects or {}, {}
    entries = [(config, _Place(None, "config.json", 0))]
    while entries:
        value, place = entries.pop()
        if place.depth > MAX_DEPTH:
            raise ValueError(f"{place} is nested more than {MAX_DEPTH} deep")
        if isinstance(value, list):
            children = enumerate(value)
        else:
            if "class_name" in value:
                named |= _check_object(value, place, custom_objects)
            children = value.items()
        entries += [
            (child, _Place(place, key, place.depth + 1))
            for key, child in children
            if isinstance(child, (dict, list))
        ]
    return named


class _Place(typing.NamedTuple):
    """Where in the configuration; written out for an error alone."""

    parent: "_Place | None"
    key: str | int
    depth: int

    def __str__(self):
        keys, place = [], self
        while place.parent is not None:
            keys.append(f"[{place.key!r}]"[:40])
            place = place.parent
        left_out = "..." if len(keys) > SHOWN_KEYS else ""
        return place.key + left_out + "".join(reversed(keys[:SHOWN_KEYS]))


def _check_object(entry, place, custom_objects):
    """Checks one dict that Keras would make an object of.

    Returns:
        A dict of the object by its name if it is registered; else empty.
    """
    name, module = entry["class_name"], entry.get("module")
    registered = entry.get("registered_name", name)
    if not isinstance(name, str) or not all(
        isinstance(text, str | None) for text in (module, registered)
    ):
        raise ValueError(f"{place} names its class by something else than text")
    if name.startswith("__"):
        _check_value(entry, name, place)
        return {}
    if "module" not in entry:
        # Keras would take it for the format of Keras 2 and look elsewhere.
        raise ValueError(f"{place} names no module for its class {name!r}")
    if name == "function":
        registered = entry.get("config")
        if not isinstance(registered, str):
            raise ValueError(f"{place} is a function without a name")
        is_allowed = keras_classes.allowed_function(module, registered)
        shown = f"the function {module}.{registered}"
    else:
        is_allowed = _is_allowed(module, name, custom_objects)
        shown = f"the class {module}.{name}"
    known = keras.saving.get_registered_object(registered, custom_objects)
    if known is not None:
        return {registered: known}
    if not is_allowed:
        is_of_keras = (module or "").startswith("keras.")
        reasons = keras_classes.REFUSED_LAYERS if is_of_keras else {}
        reason = reasons.get(name, "it is not known")
        raise ValueError(f"{place} is {shown[:200]!r}: {reason}. {WAY_OUT}")
    return {}


def _check_value(entry, name, place):
    if name not in VALUES:
        raise ValueError(f"{place} is {name[:80]!r}: it holds code. {WAY_OUT}")
    config = entry.get("config")
    dtype = config.get("dtype") if isinstance(config, dict) else None
    if dtype is not None and str(dtype) not in DTYPES:
        raise ValueError(f"{place} is an array of {dtype!r}, not of numbers")


def _is_allowed(module, name, custom_objects):
    if keras_classes.allowed_class(module, name) is not None:
        return True
    found = module == "keras.layers" and getattr(keras.layers, name, None)
    return bool(found) and any(o is found for o in custom_objects.values())
