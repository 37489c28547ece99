# ruff: noqa: RUF001 - letters of other scripts are meant
import pytest
from hypothesis import given, settings, strategies as st

from ooc_app.contradictions import POINTS_MAX, Marked, Segment, contradictions

IN, OUT, UNSURE = "in_context", "out_of_context", "unsure"
Opinion = tuple[str, str]


def written(segments: list[Segment]) -> str:
    """Write a text with its marks in brackets."""
    return "".join(f"[{segment.text}]" if segment.points else segment.text for segment in segments)


def of_point(segments: list[Segment], point: int) -> list[str]:
    return [segment.text for segment in segments if point in segment.points]


def marks(caption: str, *rationales: Opinion) -> list[str]:
    marked = contradictions(caption, rationales)
    return [written(marked.caption), *(written(segments) for segments in marked.rationales)]


def assert_same_texts(marked: Marked, caption: str, rationales: list[Opinion]) -> None:
    assert "".join(segment.text for segment in marked.caption) == caption
    assert ["".join(s.text for s in segments) for segments in marked.rationales] == [t for _, t in rationales]
    assert 0 <= marked.points <= POINTS_MAX
    seen = {n for segments in (marked.caption, *marked.rationales) for s in segments for n in s.points}
    assert seen <= set(range(marked.points))


@pytest.mark.parametrize(
    ("caption", "rationales"),
    [
        ("", []),
        ("Flood in Norvik", []),
        ("", [(IN, ""), (OUT, "")]),
        ("Flood in Norvik", [(IN, ""), (OUT, "")]),
        (" . ", [(IN, "!"), (OUT, "?")]),
        ("Flood in Norvik", [(OUT, "A flood in Norvik.")]),
        ("Flood in Norvik", [(OUT, "A flood in Norvik."), (OUT, "The flood is in Norvik.")]),
        ("Flood in Norvik", [(IN, "The picture shows it."), (OUT, "It does not fit.")]),
        ("Flood in Norvik", [(UNSURE, "The details cannot be seen."), (IN, "A river.")]),
    ],
)
def test_where_nothing_is_contradicted_nothing_is_marked(caption: str, rationales: list[Opinion]) -> None:
    marked = contradictions(caption, rationales)
    assert marked.points == 0
    assert_same_texts(marked, caption, rationales)


def test_small_words_are_never_marked() -> None:
    assert marks("It is in the", (IN, "It is in the."), (OUT, "It is not in the.")) == [
        "It is in the",
        "It is in the.",
        "It is not in the.",
    ]


@pytest.mark.parametrize("text", ["Norvik", "诺维克"])
def test_a_rationale_is_never_marked_as_a_whole(text: str) -> None:
    marked = contradictions(text, [(IN, text), (OUT, text)])
    assert marked.points == 0
    assert marks(text, (IN, text), (OUT, text)) == [text] * 3


def test_markup_and_template_syntax_is_plain_text() -> None:
    caption = "<b>Norvik</b> {{ flood }} ${x} %s"
    rationales = [
        (IN, "<img src=x onerror=alert(1)> shows Norvik"),
        (OUT, "{0} {{Halden}}, not {{Norvik}}."),
    ]
    assert_same_texts(contradictions(caption, rationales), caption, rationales)
    assert marks(caption, *rationales)[2] == "{0} {{[Halden]}}, not {{[Norvik]}}."


@pytest.mark.parametrize(
    "unit",
    [
        "a b ",
        "Norvik ",
        "洪水淹没了",
        "洪",
        "Halden, not Norvik. ",
        "not ",
        "1,",
        "e\u0301",
        "\u202e",
        "A1 Bb ",
        "2011 ",
    ],
)
def test_hostile_lengths_stay_whole(unit: str) -> None:
    text = (unit * 50_000)[:50_000]
    rationales = [(verdict, text[n:]) for n, verdict in enumerate([IN, OUT, UNSURE, OUT])]
    assert_same_texts(contradictions(text, rationales), text, rationales)


def test_rationales_beyond_the_eighth_stay_plain() -> None:
    rationales = [(IN, "Norvik it is.")] * 8 + [(OUT, "Halden, not Norvik.")]
    marked = contradictions("Norvik", rationales)
    assert marked.points == 0
    assert_same_texts(marked, "Norvik", rationales)


def test_there_are_at_most_eight_points_and_pairs_come_first() -> None:
    names = [f"Town{chr(97 + n)}" for n in range(20)]
    caption = "Seen: " + ", ".join(names)
    marked = contradictions(
        caption, [(IN, f"Yes: {caption}"), (OUT, f"No. {caption}. Halden, not Townz. Oslo, not Townc.")]
    )
    assert marked.points == POINTS_MAX
    assert of_point(marked.caption, 0) == ["Townc"]


def test_a_word_of_different_verdicts_is_marked_in_both_places() -> None:
    assert marks(
        "Protesters near the old clock tower",
        (IN, "The clock tower can be recognised."),
        (OUT, "There is no clock tower like that."),
    ) == [
        "Protesters near the [old clock tower]",
        "The [clock tower] can be recognised.",
        "There is no [clock tower] like that.",
    ]


@pytest.mark.parametrize(
    "rationale",
    [
        "[Halden], not [Norvik].",
        "This is not [Norvik] but [Halden].",
        "It looks like [Halden] rather than [Norvik].",
        "It shows [Halden] instead of [Norvik].",
        "The caption says [Norvik], but the picture shows [Halden].",
        "We see [Halden], whereas the caption speaks of [Norvik].",
        "The caption says [Norvik]. The image shows [Halden].",
        "Se ve [Halden] en lugar de [Norvik].",
        "No es [Norvik], sino [Halden].",
        "Das ist nicht [Norvik], sondern [Halden].",
        "Das Bild zeigt [Halden] statt [Norvik].",
        "On voit [Halden] plutôt que [Norvik].",
        "Ce n'est pas [Norvik] mais [Halden].",
    ],
)
def test_what_is_denied_and_what_is_put_in_its_place_are_marked(rationale: str) -> None:
    plain = rationale.replace("[", "").replace("]", "")
    assert marks("A flood in Norvik.", (OUT, plain), (OUT, "Signs name Halden.")) == [
        "A flood in [Norvik].",
        rationale,
        "Signs name [Halden].",
    ]


def test_a_denial_without_a_colleague_who_differs_is_marked_too() -> None:
    assert marks("A flood in Norvik", (OUT, "Halden, not Norvik")) == [
        "A flood in [Norvik]",
        "[Halden], not [Norvik]",
    ]


def test_an_agreeing_rationale_that_tells_both_sides_is_no_denial() -> None:
    assert (
        contradictions("A rally", [(IN, "The caption says a rally, the picture shows a march.")]).points == 0
    )


@pytest.mark.parametrize(
    ("caption", "one", "other"),
    [
        ("In [2011]", "Cars date it to [2011].", "Cars date it to [2014]."),
        ("At [14:30]", "The clock reads [14:30] there.", "The clock reads [09:10] there."),
        ("By a wall", "I count [two] towers.", "I count [3] towers."),
        ("By a wall", "A sign reads [Port Halden].", "A sign reads [Norvik]."),
    ],
)
def test_what_is_stated_differently_at_the_same_place_is_marked(caption: str, one: str, other: str) -> None:
    plain = [text.replace("[", "").replace("]", "") for text in (caption, one, other)]
    assert marks(plain[0], (IN, plain[1]), (OUT, plain[2])) == [caption, one, other]
    assert contradictions(plain[0], [(IN, plain[1]), (IN, plain[2])]).points == 0


@pytest.mark.parametrize(
    ("caption", "one", "other"),
    [
        ("[诺维克]的洪水", "图片显示的是[诺维克]。", "这是[哈尔登]而不是[诺维克]。"),
        ("[诺维克]的大火", "标题提到[诺维克]，可以认出。", "标题说是[诺维克]，图片显示的是[哈尔登]。"),
        ("[抗议]者集会", "可以看到[抗议]活动。", "这不是[抗议]，而是[音乐节]。"),
        ("[ノルビク]の町", "写真は[ノルビク]です。", "[ノルビク]ではなく[ハルデン]です。"),
        ("[فيضان] قرب البرج", "نرى [الفيضان] هنا", "لا يوجد [فيضان] هنا"),
        ("В [Норвике] зимой", "Узнаю [Норвик] сразу.", "Это [Халден], а не [Норвик]."),
        ("[Наводнение] летом", "Видим [наводнение].", "Следов [наводнения] нет."),
        ("[Norvik]'s people", "[Norvik]’s streets.", "[Halden], not [Norvik]."),
        ("Two [towers]", "The [tower] fits.", "There is no [tower]."),
        ("La [inundación]", "Las [inundaciones] coinciden.", "Sin [inundación]."),
        ("Visita a [Málaga]", "Es [MALAGA] sin duda.", "Es [Cádiz], no [Ma\u0301laga]."),
        ("En la [Puerta del Sol]", "La [Puerta del Sol] coincide.", "No veo la [Puerta del Sol]."),
    ],
)
def test_words_are_matched_across_forms_and_scripts(caption: str, one: str, other: str) -> None:
    plain = [text.replace("[", "").replace("]", "") for text in (caption, one, other)]
    assert marks(plain[0], (IN, plain[1]), (OUT, plain[2])) == [caption, one, other]


def test_a_word_inside_another_is_not_the_same_word() -> None:
    assert contradictions("A tow truck", [(IN, "A tower fits."), (OUT, "There is no tower.")]).points == 0


def test_a_name_is_not_found_in_a_common_word() -> None:
    assert marks("In New Halden", (IN, "A new road."), (OUT, "No new road."))[0] == "In New Halden"


texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]), st.sampled_from("\u202e\u0301 .,'’\U0001f600洪水不是Aa1")
    )
) | st.lists(
    st.sampled_from(
        [
            "Norvik",
            "Halden",
            "not",
            ",",
            "but",
            " ",
            "2011",
            "the caption says",
            "we see",
            "而不是",
            "洪水",
            ".",
        ]
    )
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(texts, st.lists(st.tuples(st.sampled_from([IN, OUT, UNSURE]), texts), max_size=5))
def test_the_segments_of_a_text_joined_are_the_text(caption: str, rationales: list[Opinion]) -> None:
    assert_same_texts(contradictions(caption, rationales), caption, rationales)
