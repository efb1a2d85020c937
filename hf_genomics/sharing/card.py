"""Write or check the card of a model folder: the verb `card`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..loading.adapters import check_whole
from ..reports.card_file import CARD, check_card, write_card


def card(model: str, name: str | None = None, license: str | None = None, check: bool = False) -> dict[str, Any]:
    """Write a model's card, README.md, from the records of its run; or check the card that is there.

    `pretrain` and `finetune` write a card already. Write it again to give it a name and a licence, or after you moved
    or evaluated the model. The section "Notes" of an existing card is the author's own and is kept, and so are its name
    and licence unless new ones are given.

    Args:
        model: folder of a saved model.
        name: name of the model on the Hub, ``user/model``; by default the name of the folder.
        license: licence of the weights as the Hub spells it, such as ``mit`` or ``cc-by-4.0``.
        check: change nothing, and ignore ``name`` and ``license``; check that no section is empty, and that all scores
            are those of metrics.json.

    Returns:
        The path of the card, and the number of characters in it.

    Raises:
        InputError: if the folder holds no model, or an adapter without config.json, or if the card to check is missing
            or has a problem.
    """
    folder = Path(model)
    if not (folder / "config.json").is_file():  # `finetune` writes config.json beside an adapter, too
        check_whole(folder, "describe")
    text = check_card(folder) if check else write_card(folder, name, license)
    return {"card": str(folder / CARD), "characters": len(text)}
