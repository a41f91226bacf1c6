"""The view that one batch decides on: every decision sees what those before it decided."""

from __future__ import annotations

from typing import ClassVar

from shared.mongo.documents import Changes, Document, View
from tests.builders import case_closed, case_opened


class Cat(Document):
    collection: ClassVar[str] = "pets"
    lives: int = 9


class Dog(Document):
    collection: ClassVar[str] = "pets"


def loaded(*documents: Document) -> View:
    view = View()
    view.load(documents)
    return view


def test_what_was_read_can_be_looked_up_by_kind_and_id() -> None:
    view = loaded(Cat(id="tom"), Cat(id="kit"), Dog(id="rex"))

    assert view.get(Cat, "tom") == Cat(id="tom")
    assert view.get(Dog, "tom") is None
    assert view.get(Cat, "rex") is None
    assert [cat.id for cat in view.all(Cat)] == ["kit", "tom"]
    assert view.changed() == {}


def test_a_later_decision_sees_an_earlier_one() -> None:
    view = loaded(Cat(id="tom"))
    view.apply(Changes(puts=[Cat(id="tom", lives=8), Dog(id="rex")]))
    view.apply(Changes(puts=[Cat(id="tom", lives=7)]))

    assert view.get(Cat, "tom") == Cat(id="tom", lives=7)
    assert view.changed() == {"pets": {"tom": Cat(id="tom", lives=7), "rex": Dog(id="rex")}}


def test_what_is_removed_is_gone_for_those_who_come_later() -> None:
    view = loaded(Cat(id="tom"))
    view.apply(Changes(removals=[Cat(id="tom")]))

    assert view.get(Cat, "tom") is None
    assert view.all(Cat) == []
    assert view.changed() == {"pets": {"tom": None}}


def test_what_is_put_after_its_removal_is_there_again() -> None:
    view = loaded(Cat(id="tom"))
    view.apply(Changes(removals=[Cat(id="tom")]))
    view.apply(Changes(puts=[Cat(id="tom", lives=1)]))

    assert view.changed() == {"pets": {"tom": Cat(id="tom", lives=1)}}


def test_a_removal_beats_a_put_of_the_same_decision() -> None:
    view = View()
    view.apply(Changes(puts=[Cat(id="tom")], removals=[Cat(id="tom")]))

    assert view.changed() == {"pets": {"tom": None}}


def test_changes_add_up_in_their_order() -> None:
    one = Changes(puts=[Cat(id="tom")], events=[case_opened()])
    two = Changes(removals=[Dog(id="rex")], events=[case_closed()])

    both = one + two
    assert both.puts == (Cat(id="tom"),)
    assert both.removals == (Dog(id="rex"),)
    assert [event.topic for event in both.events] == ["case-opened", "case-closed"]


def test_a_document_keeps_its_id_under_mongos_name() -> None:
    stored = Cat(id="tom", lives=3).to_mongo()

    assert stored == {"_id": "tom", "lives": 3}
    assert Cat.model_validate(stored | {"added_later": 1}) == Cat(id="tom", lives=3)
