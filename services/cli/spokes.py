"""Spokes: installed packages that add their commands to `streamrec`, each under a name of its own.

A package declares its commands as an entry point of the group `streamrec.spokes`, in its pyproject.toml:

    [project.entry-points."streamrec.spokes"]
    ads = "company_ads.command_line:commands"

``commands`` is a `typer.Typer`; what it holds is called as `streamrec NAME ...`, here with the name ``ads``.

Names are read from the metadata of installed packages. A spoke's code is imported only when one of its
commands is asked for, or when `streamrec --help` lists it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from streamrec.command_line.spoke_packages import SPOKE_GROUP
from streamrec.contracts.errors import InvalidInputError

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TARGET: Final = re.compile(r"[\w.]+:[\w.]+")


class SpokeLoadError(Exception):
    """The code of a spoke cannot be used. What it raised is the cause."""


@dataclass(frozen=True, slots=True)
class Spoke:
    """One declared spoke; nothing of it is imported yet.

    Attributes:
        name: What its commands are called by: `streamrec NAME ...`.
        distribution: Name and version of the installed package that declares it.
        entry_point: Where its commands are.
    """

    name: str
    distribution: str
    entry_point: EntryPoint

    @property
    def origin(self) -> str:
        """Where it comes from, for messages: ``company_ads.command_line:commands of company-ads 1.2``."""
        return f"{self.entry_point.value} of {self.distribution}"

    @property
    def top_package(self) -> str:
        """The outermost package of its code."""
        return self.entry_point.value.partition(":")[0].partition(".")[0]


def installed_spokes(hub_commands: Collection[str]) -> Mapping[str, Spoke]:
    """Read which spokes are declared by the packages installed here, sorted by name.

    Args:
        hub_commands: Names that are taken.

    Raises:
        InvalidInputError: A name is not lower-case words joined by dashes, is a command of the hub, or is
            declared twice; the message names where both come from.
    """
    spokes: dict[str, Spoke] = {}
    declared = sorted(entry_points(group=SPOKE_GROUP), key=lambda entry_point: entry_point.name)
    for entry_point in declared:
        package = entry_point.dist
        distribution = "an unknown package" if package is None else f"{package.name} {package.version}"
        spoke = Spoke(entry_point.name, distribution, entry_point)
        if not _NAME.fullmatch(spoke.name):
            raise _refused(spoke, "the name must be lower-case words joined by dashes")
        if spoke.name in hub_commands:
            raise _refused(spoke, f"{spoke.name!r} is a command of the hub (services.cli of streamrec)")
        if spoke.name in spokes:
            raise _refused(spoke, f"{spokes[spoke.name].origin} has the same name")
        spokes[spoke.name] = spoke
    return spokes


def load_commands(spoke: Spoke) -> TyperGroup:
    """Import a spoke's commands.

    Raises:
        SpokeLoadError: They cannot be imported, or are no `typer.Typer`; the message is one line.
    """
    try:
        return _group(spoke)  # runs foreign code, which may raise anything and must not end the hub
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SpokeLoadError(
            f"the spoke {spoke.name!r} ({spoke.origin}) cannot be loaded: {reason}; "
            "mend its package, install what it needs, or uninstall it"
        ) from error


def _group(spoke: Spoke) -> TyperGroup:
    if not _TARGET.fullmatch(spoke.entry_point.value):
        raise ValueError("the entry point must be 'module:commands'")
    commands = spoke.entry_point.load()
    if not isinstance(commands, typer.Typer):
        raise TypeError(f"the entry point is of type {type(commands).__name__}, not a typer.Typer")
    # A group even where the spoke has one command alone, and with plain help texts like the hub's own.
    host = typer.Typer(rich_markup_mode=None)
    host.add_typer(commands, name=spoke.name)
    return cast(TyperGroup, get_group(host).commands[spoke.name])


class UnloadableSpoke(TyperCommand):
    """Stands in for a spoke's commands: takes any arguments and says why they cannot be loaded."""

    def __init__(self, spoke: Spoke, error: SpokeLoadError) -> None:
        super().__init__(
            spoke.name,
            short_help=f"Cannot be loaded ({spoke.distribution}).",
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
            rich_markup_mode=None,
        )
        self.error = error

    def invoke(self, _ctx: Any) -> Any:
        """Raise why the spoke cannot be loaded."""
        raise self.error


def mounted_command(spoke: Spoke) -> TyperGroup | UnloadableSpoke:
    """Return the spoke's commands, or what stands in for them where they cannot be loaded."""
    try:
        return load_commands(spoke)
    except SpokeLoadError as error:
        return UnloadableSpoke(spoke, error)


def _refused(spoke: Spoke, problem: str) -> InvalidInputError:
    return InvalidInputError(
        f"the spoke {spoke.name!r} ({spoke.origin})",
        f"{problem}; rename it in its package or uninstall the package",
    )
