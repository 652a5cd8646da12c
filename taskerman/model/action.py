"""What people are told of an action: what it does, what it takes, how it behaves. Made of its runner's declarations."""

from __future__ import annotations

from pydantic import Field, JsonValue

from taskerman.model.base import Noun
from taskerman.model.ids import ActionName
from taskerman.model.task import ActionTraits

__all__ = ["ActionDescription", "ActionField", "ActionShown", "ConfigChecked", "ListedAction"]


class ActionField(Noun):
    """One argument of an action, or one key of a node's configuration.

    `name`: as it is written; of a field within another `outer.inner`, within each of a list `outer[].inner`. `kind`,
    `bounds`, `unit`: in words; empty where there is nothing to say. `default`: where it is not `required`. `example`:
    a value that fits, of a required one.
    """

    name: str
    kind: str
    required: bool
    default: JsonValue = None
    bounds: str = ""
    unit: str = ""
    about: str = ""
    example: JsonValue = None


class ActionDescription(Noun):
    """All that a runner says of one action.

    `introduction`: of the runner, Markdown. `about`: of the action, in its class's own words. `bracketed`: something
    is made true around a whole task, and undone after it. `args`: None: it takes none. `config`: None: the runner
    does not say what a node must be configured with.
    """

    action: ActionName
    description: str
    introduction: str
    about: str
    traits: ActionTraits
    bracketed: bool
    args: tuple[ActionField, ...] | None
    config: tuple[ActionField, ...] | None


class ListedAction(Noun):
    """One line of a list. `problem`: why it cannot be used, if it cannot."""

    action: str
    description: str = ""
    problem: str = ""


class ActionShown(Noun):
    """An action, and how it is used. `schedule`: an example, None: there is none, and none can be made up. `place`: the
    file and line that have it, empty: it was made up. `task`: the document that it makes, without what a firing fills
    in."""

    action: ActionDescription
    schedule: dict[str, JsonValue] | None
    task: dict[str, JsonValue] = Field(default_factory=dict)
    place: str = ""


class ConfigChecked(Noun):
    """A node's configuration for a runner, found good. `keys`: that are set; `checked`: False: the runner does not say
    what it must be."""

    action: ActionName
    keys: tuple[str, ...]
    checked: bool = True
