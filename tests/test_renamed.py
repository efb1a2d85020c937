"""Old keyword arguments."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from hf_genomics.renamed import renamed


@dataclass(frozen=True)
class Columns:
    label: str = "label"


@renamed(label_column="columns.label")
@dataclass(frozen=True)
class Data:
    columns: Columns = field(default_factory=Columns)
    rna: bool = False


@dataclass(frozen=True)
class Head:
    pooling: str = "cls"
    num_parts: int = 1


@renamed(pooling="head.pooling", num_windows="head.num_parts", packing="storage")
def fit(data: Data, head: Head = Head(), storage: str = "8bit") -> tuple[Head, str]:  # noqa: B008
    return head, storage


def test_old_keys_reach_the_fields_of_a_section_and_warn_with_the_new_name():
    with pytest.warns(FutureWarning, match=r"'pooling'.*'head\.pooling'"):
        assert fit(Data(), pooling="mean") == (Head("mean"), "8bit")
    with pytest.warns(FutureWarning):
        assert fit(Data(), num_windows=2, pooling="max", head=Head(num_parts=1)) == (Head("max", 2), "8bit")
    with pytest.warns(FutureWarning, match="'storage'"):
        assert fit(Data(), packing="2bit") == (Head(), "2bit")


def test_old_keys_of_a_dataclass_reach_its_sections():
    with pytest.warns(FutureWarning, match=r"Data: 'label_column' is called 'columns\.label'"):
        data = Data(label_column="class", rna=True)
    assert data == Data(Columns("class"), rna=True)


def test_new_keys_do_not_warn(recwarn):
    assert fit(Data(Columns("class")), Head("mean"), storage="2bit") == (Head("mean"), "2bit")
    assert not recwarn.list


def test_an_old_key_hides_no_mistake_in_the_other_arguments():
    with pytest.raises(TypeError, match="too many positional"):
        fit(Data(), Head(), "8bit", "more", pooling="mean")
    with pytest.raises(TypeError, match="'data' is given by position and by name"):
        fit(Data(), data=Data(rna=True), packing="2bit")


def test_an_old_key_beside_its_new_one_is_an_error():
    with pytest.warns(FutureWarning), pytest.raises(TypeError, match="storage"):
        fit(Data(), packing="2bit", storage="8bit")
    with (
        pytest.warns(FutureWarning),
        pytest.raises(TypeError, match=r"'pooling'.* pass only head=Head\(pooling="),
    ):
        fit(Data(), Head(), pooling="mean")


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (fit, {"head": Head("max"), "pooling": "mean"}),
        (fit, {"head": Head(num_parts=3), "num_windows": 2}),
        (Data, {"columns": Columns("class"), "label_column": "group"}),
    ],
)
def test_an_old_key_beside_a_section_that_sets_it_is_an_error(function, given):
    section = next(iter(given))
    with pytest.warns(FutureWarning), pytest.raises(TypeError, match=rf"{section}=\w+\(\w+=\.\.\.\)"):
        function(data=Data(), **given) if function is fit else function(**given)


def test_an_old_key_beside_a_section_that_sets_something_else_is_accepted():
    with pytest.warns(FutureWarning):
        assert fit(Data(), head=Head(num_parts=3), pooling="mean") == (Head("mean", 3), "8bit")


@dataclass(frozen=True)
class Options:
    steps: int = 1


@dataclass(frozen=True)
class MoreOptions(Options):
    packing: bool = True

    @classmethod
    def of(cls, options: Options) -> MoreOptions:
        return options if isinstance(options, cls) else cls(options.steps)


@renamed(packing="options.packing")
def train(options: MoreOptions, data: str) -> tuple[Options, str]:
    return options, data


def test_a_section_that_every_call_has_keeps_its_fields_and_may_be_of_the_base_class():
    for options in (Options(3), MoreOptions(3)):
        with pytest.warns(FutureWarning, match=r"options\.packing"):
            assert train(options, "x", packing=False) == (MoreOptions(3, packing=False), "x")
        with pytest.warns(FutureWarning):
            assert train(data="x", options=options, packing=False) == (MoreOptions(3, packing=False), "x")
    with pytest.warns(FutureWarning), pytest.raises(TypeError, match="options=MoreOptions"):
        train(MoreOptions(packing=False), "x", packing=True)


def test_unknown_keys_are_errors_as_ever():
    with pytest.raises(TypeError):
        fit(Data(), polling="mean")


def test_the_table_is_there_for_the_command_line():
    assert fit.renamed_keys["num_windows"] == "head.num_parts" and Data.renamed_keys == {
        "label_column": "columns.label"
    }
