"""The two families of encoders behind one door.

A family is one package, whose encoder.py has the class, and one line in ``FAMILIES``. The names are strings so that a
candidate imports, and therefore depends on, its own family alone; without the name of this package, which has another
one in a version.
"""

from __future__ import annotations

from importlib import import_module

from torch import nn

from pipeline.models.encoder import choose

FAMILIES: dict[str, str] = {
    "cnn": "cnn.encoder:CNN",
    "rnn": "rnn.encoder:RNN",
}


def load_family(name: str) -> type[nn.Module]:
    """Returns the encoder class of a family (see ``encoder.Encoder`` for what it offers); imports this family only."""
    module, attribute = choose(name, FAMILIES, "family").split(":")
    family: type[nn.Module] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return family
