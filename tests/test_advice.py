"""What messages name exists, and whoever does what a message says gets past it."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
from typing import NamedTuple

import pytest
from advice import PACKAGE, SECTIONS, Site, build_parser, keys_of, modules_of, sites_of, texts_of, unknown_in, ways_out
from bad_inputs.followed import FOLLOWED
from test_bad_inputs import CASES, PREFIX
from test_messages import MISTAKES
from unreached import NO_MESSAGES, UNREACHED

import hf_genomics
from hf_genomics import errors
from hf_genomics.cli import VERBS, main
from hf_genomics.options import run_verb


def test_the_sections_are_those_of_the_verbs():
    assert {key.split(".")[0] for verb in VERBS for key in keys_of(verb).known if "." in key} == set(SECTIONS)


def test_every_option_verb_and_extra_in_a_text_of_the_package_exists():
    reach = {verb: modules_of(f"hf_genomics.{hf_genomics._HOME[verb.replace('-', '_')]}") for verb in VERBS}
    wrong = []
    for module in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(module.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        verbs = [verb for verb in VERBS if name in reach[verb]] or list(VERBS)
        for line, text in texts_of(module):
            wrong += [f"{name}:{line}: {what}" for what in unknown_in(text, verbs) if text not in NO_MESSAGES]
    assert wrong == []


def test_the_list_of_messages_that_are_not_followed_names_messages_that_exist():
    sites = list(sites_of())
    assert [(place, part) for place, part in UNREACHED if not any(is_in(site, place, part) for site in sites)] == []


# Following.


class Attempt(NamedTuple):
    """A command line that was run.

    Attributes:
        words: its words.
        code: its exit code.
        message: what it said last, without the program's name.
        made: module below the package and line that made the message; None without a message.
    """

    words: list[str]
    code: int
    message: str
    made: tuple[str, int] | None


class Played(NamedTuple):
    """A case, and the command lines that its message asks for.

    Attributes:
        name: name of the case.
        first: what it said.
        tried: the command lines that follow it, in empty folders with the same files.
        is_mended: whether the case has a way out of its own, which test_bad_inputs.py tries.
    """

    name: str
    first: Attempt
    tried: list[Attempt]
    is_mended: bool


COMMANDS = {
    **{name: (case.command, case.make, bool(case.remedy or case.repair)) for name, case in CASES.items()},
    **{f"followed-{name}": (command, make, False) for name, (command, make) in FOLLOWED.items()},
    **{f"mistake-{name}": (command, None, False) for name, (command, _) in MISTAKES.items()},
}


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Every case of the tables, and what became of the command lines that its message asks for."""
    from places import make_places

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_verb, "build_parser", build_parser)
        places = make_places(tmp_path_factory.mktemp("places"))
        return [play(name, places, patch, tmp_path_factory) for name in COMMANDS]


def play(name, places, patch, factory) -> Played:
    """Run a case, and what its message asks for, each in a folder of its own."""
    command, make, is_mended = COMMANDS[name]
    words = [places.get(word, word) for word in command.split()]
    first = attempt(words, make, patch, factory)
    ways: list[list[str]] = []
    if first.code == 2 and words[0] in VERBS and words[0] != "demo":  # which serves its page without end
        for way in ways_out(words, first.message, keys_of(words[0])):
            ways += [] if way in (words, *ways) else [way]
    with patch.context() as inner:
        for module, run in (("finetuning.finetune", "run_finetuning"), ("training.pretrain", "run_pretraining")):
            # Trainings end where they would begin: what a message asks for has been checked by then.
            inner.setattr(importlib.import_module(f"hf_genomics.{module}"), run, lambda plan: {})
        return Played(name, first, [attempt(way, make, patch, factory) for way in ways], is_mended)


def attempt(words, make, patch, factory) -> Attempt:
    """Run a command line in a new folder."""
    work = factory.mktemp("work")
    patch.chdir(work)
    if make:
        make(work)
    made: list[tuple[str, int]] = []
    error = errors.InputError.__init__

    def recorded(self: errors.InputError, message: object) -> None:
        error(self, message)
        frame = sys._getframe(1)
        made.append((frame.f_code.co_filename.removeprefix(f"{PACKAGE}/"), frame.f_lineno))

    with patch.context() as inner, contextlib.redirect_stderr(io.StringIO()) as said:
        inner.setattr(errors.InputError, "__init__", recorded)
        inner.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
        code = main(words)
    lines = said.getvalue().splitlines() or [""]
    return Attempt(words, code, lines[-1].removeprefix(PREFIX), made[-1] if made else None)


@pytest.mark.slow
def test_whoever_does_what_a_message_says_gets_past_it(played):
    stuck = [
        (one.name, one.first.message, " ".join(way.words), way.message)
        for one in played
        for way in one.tried
        if way.code != 0 and (way.code != 2 or is_same(way, one.first))
    ]
    assert stuck == []
    of_the_table = [one for one in played if one.name.startswith("followed-")]
    assert [one.name for one in of_the_table if one.first.code != 2 or not one.tried] == []


def is_same(way: Attempt, first: Attempt) -> bool:
    """Return whether a second message says the same as the first one, perhaps of another value."""
    texts = [re.sub(r"'[^']*'|[\d.,]+", "", one.message) for one in (way, first)]
    return texts[0] == texts[1]


def is_in(site: Site, place: str, part: str) -> bool:
    """Return whether a message is made in a module or room, and contains a part of a text."""
    return (site.module == place or site.module.startswith(f"{place}/")) and part in site.text


@pytest.mark.slow
def test_every_message_with_advice_is_followed_or_listed(played):
    followed = {one.first.made for one in played if one.is_mended or one.tried} - {None}
    open_ones = {}
    for site in sites_of():
        if not any(module == site.module and site.first <= line <= site.last for module, line in followed):
            reasons = [why for (place, part), why in UNREACHED.items() if is_in(site, place, part)]
            open_ones |= {} if reasons else {f"{site.module}:{site.first}": site.text}
    assert open_ones == {}
