"""The rounding of one matrix by GPTQ: against a calculation by hand, and against nearest."""

import numpy as np
import pytest

from hw.formats import FORMATS, ScaleKind
from sw.calibrate.gptq import gptq
from sw.quantise import dequantise_weights, quantise_weights


SEARCHED = [name for name, format in FORMATS.items() if format.element.bits < 8]


def correlated(rows=200, size=160, rank=24, seed=3):
    """Inputs ``[rows, size]`` that mostly lie in few directions, some larger than others."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, size))
    return (x + rng.normal(size=(rows, size))) * np.exp2(rng.normal(size=size))


def weights(rows=24, size=160, seed=4):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, size)) * np.exp2(rng.normal(size=(rows, 1)))).astype(np.float32)


def output_error(x, w, found, format):
    integers, scales, factor = found
    return np.square(x @ (dequantise_weights(integers, scales, format, factor) - w).T).sum()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("search", [True, False])
def test_products_change_less_than_by_rounding_to_nearest(format, search):
    x, w = correlated(), weights()
    nearest = output_error(x, w, quantise_weights(w, format), format)
    found = output_error(x, w, gptq(w, x.T @ x, format, search=search), format)
    assert found < 0.8 * nearest


@pytest.mark.parametrize("format", SEARCHED)
def test_scales_that_are_searched_for_are_better(format):
    x, w = correlated(), weights()
    plain, searched = (output_error(x, w, gptq(w, x.T @ x, format, search=search), format)
                       for search in (False, True))
    assert searched < plain


@pytest.mark.parametrize("format", FORMATS)
def test_inputs_that_have_nothing_in_common_leave_it_at_rounding_to_nearest(format):
    w = weights()
    wanted = quantise_weights(w, format)
    found = gptq(w, np.eye(160), format, search=False)
    assert np.array_equal(found[0], wanted[0]) and found[0].dtype == wanted[0].dtype
    assert np.array_equal(found[1], wanted[1]) and found[1].dtype == wanted[1].dtype
    assert found[2] == wanted[2]


def test_two_columns_are_rounded_as_by_hand():
    """Column 0 loses 0.4. Inputs that are half the same make up for half of that by column 1:
    1.35 + 0.2 is rounded to 2, not 1. The error e is then e H e = 0.16 - 0.26 + 0.4225.
    """
    w = np.zeros((1, 32), np.float32)
    # The last element makes the scale 1.
    w[0, :2], w[0, 31] = (2.4, 1.35), -8
    hessian = np.eye(32)
    hessian[0, 1] = hessian[1, 0] = 0.5
    q, scales, factor = gptq(w, hessian, "int4", damping=0, search=False)
    assert scales == 1 and factor is None
    assert q[0].tolist() == [2, 2] + 29 * [0] + [-8]
    error = (w - q)[0].astype(float)
    assert error @ hessian @ error == pytest.approx(0.3225, abs=1e-6)
    assert quantise_weights(w, "int4")[0][0, :2].tolist() == [2, 1]


def test_an_error_reaches_columns_of_the_last_group():
    """Columns 0 and 318 have the same inputs, so that what one loses is added to the other."""
    w = np.zeros((1, 320), np.float32)
    # These elements make all scales 1.
    w[0, 0], w[0, 31::32] = 0.4, -8
    hessian = np.eye(320)
    hessian[0, 318] = hessian[318, 0] = 1 - 1e-9
    for value, wanted in ((0, 0), (0.3, 1)):
        w[0, 318] = value
        q, scales, _ = gptq(w, hessian, "int4", damping=0, search=False)
        assert (scales == 1).all()
        assert q[0, 0] == 0 and q[0, 318] == wanted


@pytest.mark.parametrize("format", FORMATS)
def test_integers_and_scales_are_legal(format):
    kind, x, w = FORMATS[format], correlated(), weights()
    w[0], w[1], w[2], w[3, 32:64] = 0, 1e-30, 3e3, 0
    q, scales, factor = gptq(w, x.T @ x, format)
    assert np.array_equal(kind.element.decode(kind.element.encode(q)), q)
    assert scales.dtype == kind.scale.dtype and scales.shape == (24, kind.scales(160))
    assert (factor is not None) == kind.factor
    if kind.scale == ScaleKind.E8M0:
        assert scales.max() < 255
    if kind.scale == ScaleKind.E4M3:
        assert scales.max() < 0x7F
    assert np.isfinite(dequantise_weights(q, scales, format, factor)).all()
    assert not q[0].any()


@pytest.mark.parametrize("format", ["int4", "nvfp4", "int8row"])
def test_rows_do_not_depend_on_the_others(format, monkeypatch):
    x, w = correlated(), weights()
    together = gptq(w, x.T @ x, format)
    monkeypatch.setattr("sw.calibrate.gptq.ROWS", 7)
    apart = gptq(w, x.T @ x, format)
    assert all(np.array_equal(*both) for both in zip(together, apart) if both[0] is not None)


@pytest.mark.parametrize("format", ["int4", "mxfp4", "int4g128"])
def test_columns_without_inputs_are_rounded_to_nearest(format):
    x, w = correlated(), weights()
    x[:, 128:] = 0
    found = gptq(w, x.T @ x, format, search=False)
    wanted = quantise_weights(w, format)
    assert np.array_equal(found[0][:, 128:], wanted[0][:, 128:])
    assert not np.array_equal(found[0], wanted[0])
    nothing = gptq(w, np.zeros((160, 160)), format, search=False)
    assert np.array_equal(nothing[0], wanted[0])


def test_what_cannot_be_rounded_is_refused():
    w = weights()
    with pytest.raises(ValueError, match="160 columns needs a Hessian of 160 x 160, not 32 x 32"):
        gptq(w, np.eye(32), "int4")
    with pytest.raises(ValueError, match="inputs of the calibration text are not finite"):
        gptq(w, np.full((160, 160), np.nan), "int4")
    with pytest.raises(ValueError, match="must be one of int8, .* not 'int3'"):
        gptq(w, np.eye(160), "int3")
    with pytest.raises(ValueError, match="needs a scale beyond FP16"):
        gptq(w * 1e8, np.eye(160), "int8")
    w[3, 3] = np.inf
    with pytest.raises(ValueError, match="a weight is infinite or not a number"):
        gptq(w, np.eye(160), "int4")
