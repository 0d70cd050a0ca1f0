"""The reference of the book: what makes it of docstrings, signatures, tables and the catalogue."""

import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest

import segloss_ref

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from contents import ROOT
from reference import docstrings, evidence, names, scenes, signatures

PAGES = sorted((ROOT / "book" / "reference").glob("*.md"))
ENTRIES = segloss_ref.catalogue()


def listed():
    """The public names that the pages list, by what their directives stand for."""
    text = "\n".join(page.read_text() for page in PAGES)
    found = set(re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE))
    full = {id(member): name for name, member in names.public().items() if callable(member)}
    for family in re.findall(r"^\.\. losses:: (\S+)$", text, re.MULTILINE):
        chosen = [entry.loss for entry in ENTRIES if entry.family == family]
        found |= {full[id(loss)] for loss in (names.bases() if family == "bases" else chosen)}
    if ".. functions::" in text:
        found |= {f"segloss_ref.functional.{name}" for name in segloss_ref.functional.__all__}
    for module in re.findall(r"^\.\. members:: (\S+)$", text, re.MULTILINE):
        members = {n: getattr(sys.modules[module], n) for n in names.names_of(sys.modules[module])}
        found |= {full.get(id(member), f"{module}.{n}") for n, member in members.items()}
        classes = [member for member in members.values() if inspect.isclass(member)]
        found |= {full[id(base)] for base in names.bases_of(classes)}
    return found


def test_every_public_name_is_on_a_page():
    assert names.missing(listed()) == []


@pytest.mark.parametrize(
    "name",
    [
        "segloss_ref.DiceLoss",
        "segloss_ref.UNET_2015",
        "segloss_ref.functional.dice",
        "segloss_ref.losses.base.RegionLoss",
        "segloss_ref.metrics.keras.ImageMetric",
        "segloss_ref.distance.soft_skeleton",
        "segloss_ref.metrics.dice",
        "segloss_ref.datasets.NAMES",
    ],
)
def test_a_name_on_no_page_is_found(name):
    assert names.missing(listed() - {name}) == [name]


def test_a_new_module_is_public_until_it_is_said_to_be_none(monkeypatch):
    documented, new = listed(), ModuleType("segloss_ref.new")
    exec("def shown(): pass\ndef _hidden(): pass", vars(new))
    monkeypatch.setattr(names, "modules", lambda: [new])
    assert "segloss_ref.new.shown" in names.missing(documented)
    assert "segloss_ref.new._hidden" not in names.public()


def test_modules_that_serve_the_package_alone_are_there():
    """Else a name in the list would hide a module of this name that comes later."""
    package = Path(segloss_ref.__file__).parent
    assert [name for name in names.INTERNAL if not (package / f"{name}.py").exists()] == []


@pytest.mark.parametrize(
    "formula, want",
    [
        ("-α_t (1 - p_t)^γ log p_t", r"-\alpha _{t} (1 - p_{t})^{\gamma } \log p_{t}"),
        ("(1 - TI)^(1 - γ)", r"(1 - \text{TI})^{1 - \gamma }"),
        ("Σ y² / √(Σ p)", r"\sum y^{2} / \sqrt{\sum p}"),
        ("E[(-log Dice_c)^γ_D]", r"E[(-\log \text{Dice}_{c})^{\gamma _{D}}]"),
        ("m_π(i) Δ({π(1)..π(i)})", r"m_{\pi (i)} \Delta (\{\pi (1) \ldots \pi (i)\})"),
        ("w0 exp(-(d1 + d2)² / (2 σ²))", r"w_0 \exp(-(d_1 + d_2)^{2} / (2 \sigma ^{2}))"),
        ("x̄ + c_S (s̄* - x̄)", r"\bar{x} + c_{S} (\bar{s}^* - \bar{x})"),
        ("|G ∪ P| >= 1", r"|G \cup P| \ge 1"),
    ],
)
def test_formulas_in_latex(formula, want):
    assert docstrings.latex(formula) == want


def formulas():
    """All that public docstrings have in backticks, as LaTeX would have it."""
    texts = [inspect.getdoc(member) or "" for member in names.public().values() if callable(member)]
    found = {code for text in texts for code in re.findall(r"`([^`]+)`", " ".join(text.split()))}
    return sorted(code for code in found if docstrings.code_as_rst(code, lambda _: None)[0] == ":")


@pytest.mark.parametrize("formula", formulas())
def test_formulas_of_docstrings_are_latex(formula):
    """Their braces close, and each sign has its name: MathJax would show others in another font."""
    tex = docstrings.latex(formula)
    depth = np.cumsum([(c == "{") - (c == "}") for c in re.sub(r"\\[{}]", "", tex)])
    assert tex.isascii() and depth[-1] == 0 and depth.min() >= 0, tex


def rst(text, **more):
    link = {"DiceLoss": "segloss_ref.DiceLoss", "keras.Variable": "keras.Variable"}.get
    return "\n".join(docstrings.as_rst(inspect.cleandoc(text), link, **more))


def test_a_docstring_of_the_house():
    got = rst(
        """A loss: see `DiceLoss`.

        Formula: `1 - p_t^γ`, mean over pixels.

        Args:
            alpha, beta: α >= 0, or a `keras.Variable`;
                it goes on.
            **kwargs: see `DiceLoss`s, not *that* 2 * 3.

        Returns: `y_true` and w_c, `(batch,)`.
        Raises:
            ValueError: if `alpha` is negative.
        Example:
            >>> 1 + 1
            2

        Not a part of it.

        Source: Lin 2017 (arXiv:1708.02002), doi:10.1/ab_c.
        """,
        after_summary=["AFTER"],
    )
    for want in (
        "A loss: see :py:obj:`DiceLoss <segloss_ref.DiceLoss>`.\n\nAFTER",
        ":math:`1 - p_{t}^{\\gamma }`, mean over pixels.",
        "``alpha``, ``beta``\n        α >= 0, or a :py:obj:`keras.Variable <keras.Variable>`; it",
        r":py:obj:`DiceLoss <segloss_ref.DiceLoss>`\ s, not *that* 2 \* 3.",
        ":Returns:\n    ``y_true`` and :math:`w_{c}`, ``(batch,)``.",
        ":Raises:\n    ``ValueError``\n        if ``alpha`` is negative.",
        ":Example:\n    >>> 1 + 1\n    2\n\nNot a part of it.",
        "(`arXiv:1708.02002 <https://arxiv.org/abs/1708.02002>`__)",
        r"`doi:10.1/ab\_c <https://doi.org/10.1/ab_c>`__.",
    ):
        assert want in got


@pytest.mark.parametrize(
    "code",
    ["DiceLoss(...) + FocalLoss(gamma=1)", "masks > 0", "np.where(masks == -1, -1, masks == 3)"],
)
def test_code_is_no_formula(code):
    assert rst(f"Text: `{code}`.").startswith(f"Text: ``{code}``.")


def test_a_formula_that_is_shown_stands_once():
    text = """A loss.

    Formula: `(1 - p_t) / (Σ y + s)`, mean over pixels.
    """
    shown = r"\frac{1 - p_t}{\sum y + s}"
    assert rst(text, shown=shown).split("\n\n")[-1].strip() == "Mean over pixels."
    assert ":math:" in rst(text, shown=r"\frac{1 - p_t}{\sum y}")


def test_code_of_a_docstring_stays_whole():
    got = rst("""Text.

        import this

        def f():
            return 1

    More.
    """)
    assert "    import this\n\n    def f():\n        return 1\n\nMore." in got.replace(
        "\n\n\n", "\n\n"
    )


def test_links_are_looked_up_where_the_docstring_stands():
    link = docstrings.linker("segloss_ref.losses.region", names.public(), {"keras"})
    assert link("DiceLoss") == "segloss_ref.DiceLoss"
    assert link("RegionLoss") == "segloss_ref.losses.base.RegionLoss"
    assert link("keras.losses.Nothing") == "keras.losses.Nothing"  # Sphinx warns of it
    assert link("segloss_ref.datasets.NAMES") == "segloss_ref.datasets.NAMES"
    assert link("soft_counts") is None  # of the module alone
    link_of_metrics = docstrings.linker("segloss_ref.metrics.keras", names.public(), ())
    assert link_of_metrics("dice") == "segloss_ref.metrics.dice"
    assert link("y_true") is None and link("per='batch'") is None


class Fields(NamedTuple):
    """A class without a constructor of its own."""

    n: int
    of: "np.ndarray | None" = None


def test_signatures_are_those_of_the_source():
    got, result = signatures.written(segloss_ref.unet_weight_map)
    assert got.startswith("(labels: ArrayLike, w0: float=10.0") and result == "NDArray[np.float64]"
    got, result = signatures.written(segloss_ref.DiceLoss)
    assert got == (
        "(smooth: float=1.0, squared: bool=False, *, name: str | None='dice', **kwargs: Any)"
    )
    assert result is None
    assert signatures.written(Fields)[0] == "(n: int, of: np.ndarray | None = None)"
    assert signatures.written(segloss_ref.metrics.DiceMetric)[0].startswith("(*, ")
    assert "options: Mapping = dict()" in signatures.written(segloss_ref.experiment.Experiment)[0]


def test_curves_of_cross_entropy_are_those_of_the_formula():
    values, gradients = scenes.curves(segloss_ref.BinaryCrossEntropyLoss)
    p = 1 / (1 + np.exp(-scenes.LOGITS))
    np.testing.assert_allclose(gradients, [p - 1, p], atol=1e-5)  # in the truth, then not
    z, y = scenes.predicted(), scenes.cells() > 0
    cost = np.log1p(np.exp(np.where(y, -z, z)))
    for value, pixel in zip(values, scenes.PIXELS.values()):
        rest = cost.sum() - cost[pixel]
        own = np.log1p(np.exp(np.where(y[pixel], -1, 1) * scenes.LOGITS))
        np.testing.assert_allclose(value, (rest + own) / y.size, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["CategoricalCrossEntropyLoss", "ShapeAwareLoss", "BlobLoss", "CompoundLoss"]
)
def test_curves_of_losses_that_are_made_in_other_ways(name):
    (loss,) = [entry.loss for entry in ENTRIES if entry.name == name]
    values, gradients = scenes.curves(loss)
    slope = np.gradient(values, scenes.LOGITS, axis=1) * scenes.cells().size
    assert np.ptp(values) > 0
    np.testing.assert_allclose(gradients[:, 1:-1], slope[:, 1:-1], atol=0.05 * np.ptp(slope))


def test_figures_are_drawn_once_for_a_state_of_the_sources(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(scenes, "draw", lambda loss, path: (drawn.append(loss), path.touch()))
    (tmp_path / "of an older state").mkdir()
    folder = scenes.figures(tmp_path)
    assert list(tmp_path.iterdir()) == [folder]
    assert len(drawn) == len(ENTRIES) and scenes.figures(tmp_path) == folder
    assert len(drawn) == len(ENTRIES) and (folder / "scene.svg").exists()


def test_evidence_of_a_loss():
    text = "\n".join(evidence.parity("DiceLoss"))
    assert re.search(r"equal in \d+ of \d+ comparisons", text) and "* MONAI: ``DiceLoss(" in text
    assert evidence.parity("ShapeAwareLoss") == []
    rows = evidence.results("DiceLoss")
    assert any("<chap-comparison>" in row for row in rows)
    # Once each, though two sweeps share runs.
    cells = [row for row in "\n".join(rows).split("* -") if "nuclei" in row]
    assert len(cells) == len(set(cells)) > 0


def test_a_run_is_with_the_losses_that_its_call_names(monkeypatch):
    call = "DiceCrossEntropyLoss + 0.5 * ClDiceLoss"
    run = ("other_sweep", "cracks", "a sum", call, 0.5, 3, 54)
    monkeypatch.setattr(evidence, "_runs", lambda: [run])
    assert evidence.results("DiceLoss") == []
    (row,) = [line for line in evidence.results("ClDiceLoss") if "cracks" in line]
    assert row.endswith("* - :ref:`cracks <chap-comparison>`")
