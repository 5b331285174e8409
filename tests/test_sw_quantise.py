"""Rounding of weights: the rule of section 2 of interfaces.md, and its corner cases."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from hw.formats import FORMATS, ScaleKind
from sw.quantise import dequantise_weights, find_scales, quantise_weights, round_to


#: Elements in ONNX.
ONNX = {"int8": TensorProto.INT8, "int4": TensorProto.INT4, "e4m3": TensorProto.FLOAT8E4M3FN,
        "int16": TensorProto.INT16}
FREE = [name for name, format in FORMATS.items()
        if format.scale in (ScaleKind.FP16, ScaleKind.BF16)]


def weights(rows=20, k=96, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, k)) * np.exp2(rng.integers(-12, 4, (rows, 1)))).astype(
        np.float32)


@pytest.mark.parametrize("format", ["int8", "int4"])
def test_each_group_follows_the_rule(format):
    w = weights()
    q, scales, _ = quantise_weights(w, format)
    assert q.dtype == np.int8 and scales.dtype == np.float16 and scales.shape == (20, 3)
    for row in range(20):
        for group in range(3):
            x = w[row, 32 * group:32 * group + 32]
            if format == "int4":
                d = np.float16(max(x, key=abs) / np.float32(-8))
                wanted = np.clip(np.rint(x / np.float32(d)), -8, 7)
            else:
                d = np.float16(np.abs(x).max() / np.float32(127))
                wanted = np.clip(np.rint(x / np.float32(d)), -127, 127)
            assert scales[row, group] == d
            assert np.array_equal(q[row, 32 * group:32 * group + 32], wanted)


def onnx_quantised(w, scales, format):
    """What QuantizeLinear makes of a matrix whose scales are given for each block, as float64."""
    kind, size = ONNX[format.element.name], format.group or w.shape[1]
    nodes = [helper.make_node("QuantizeLinear", ["w", "s"], ["q"], axis=1, block_size=size,
                              output_dtype=kind),
             helper.make_node("Cast", ["q"], ["y"], to=TensorProto.FLOAT)]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "wsy"]
    graph = helper.make_graph(nodes, "blocks", ports[:2], ports[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    return ReferenceEvaluator(model).run(None, {"w": w, "s": scales})[0].astype(np.float64)


def float_scales(scales, format):
    if format.scale == ScaleKind.BF16:
        return (scales.astype(np.uint32) << 16).view(np.float32)
    return scales.astype(np.float32)


@pytest.mark.parametrize("name", FREE)
def test_elements_are_those_of_onnx(name):
    w, format = weights(1024, 1024), FORMATS[name]
    q, scales, _ = quantise_weights(w, name)
    wanted = onnx_quantised(w, float_scales(scales, format), format)
    if name == "int8":
        # Not used here; the coarsest scales would.
        wanted = np.maximum(wanted, -127)
    assert np.array_equal(q * 2.0**format.element.lsb, wanted)


@pytest.mark.parametrize("name, levels", [("int8row", 127), ("int16", 32767)])
def test_scales_of_rows_are_the_least_that_clip_nothing(name, levels):
    w = weights(300, 200)
    q, scales, factor = quantise_weights(w, name)
    assert scales.shape == (300, 1) and scales.dtype == np.uint16 and factor is None
    d = float_scales(scales, FORMATS[name]).astype(np.float64)[:, 0]
    less = float_scales(scales - 1, FORMATS[name]).astype(np.float64)[:, 0]
    largest = np.abs(w).max(axis=1)
    assert (largest <= d * (levels + 0.01)).all() and (largest > less * levels).all()
    assert np.array_equal(np.abs(q).max(axis=1), np.rint(largest / d))


def test_groups_of_128_follow_the_rule_of_int4():
    w = weights(20, 300)
    q, scales, _ = quantise_weights(w, "int4g128")
    assert q.shape == (20, 320) and scales.shape == (20, 3) and scales.dtype == np.float16
    for row in range(20):
        for group in range(3):
            x = w[row, 128 * group:128 * group + 128]
            d = np.float16(max(x, key=abs) / np.float32(-8))
            assert scales[row, group] == d
            wanted = np.clip(np.rint(x / np.float32(d)), -8, 7)
            assert np.array_equal(q[row, 128 * group:128 * group + len(x)], wanted)
    assert not q[:, 300:].any()


def test_the_factor_spreads_scales_over_their_range():
    w = weights(50, 64)
    q, scales, factor = quantise_weights(w, "nvfp4")
    assert scales.shape == (50, 4) and factor == np.float32(np.abs(w).max() / np.float32(2688))
    # The largest weight has the largest scale and element.
    assert scales.max() == 0x7E and np.abs(q).max() == 12
    assert scales.min() >= 8, "no scale is subnormal"
    values = np.float32(dequantise_weights(q, scales, "nvfp4") * factor)
    assert np.array_equal(dequantise_weights(q, scales, "nvfp4", factor), values)


@pytest.mark.parametrize("name", FORMATS)
def test_columns_are_rounded_with_scales_found_before(name):
    w = weights(30, 300)
    w = np.pad(w, ((0, 0), (0, 20)))
    q, scales, factor = quantise_weights(w, name, "up")
    found, again = find_scales(w, name, "up")
    assert np.array_equal(found, scales) and again == factor
    for first in (0, 15, 16, 127, 128, 299):
        part = round_to(w[:, first:first + 3], scales, factor, name, first)
        assert part.dtype == q.dtype and np.array_equal(part, q[:, first:first + 3])


def test_the_largest_of_a_group_is_kept_best():
    x = np.zeros((1, 32), np.float32)
    x[0, 5], x[0, 7] = -3, 2.9
    q, scales, _ = quantise_weights(x, "int4")
    assert q[0, 5] == -8 and scales[0, 0] == 0.375 and q[0, 7] == 7
    x[0, 7] = 3      # of equal magnitudes the first decides
    assert quantise_weights(x, "int4")[0][0, 5] == -8
    assert quantise_weights(-x, "int4")[0][0, 5] == -8
    assert quantise_weights(x, "int8")[0][0, 5] == -127


def test_halves_go_to_the_even_neighbour():
    x = np.zeros((1, 32), np.float32)
    x[0, :4] = -8, 0.5, 1.5, 2.5
    assert quantise_weights(x, "int4")[0][0, :4].tolist() == [-8, 0, 2, 2]


def test_zeros_and_scales_that_vanish_give_zeros():
    for value in (0.0, 1e-12):
        q, scales, _ = quantise_weights(np.full((2, 32), value, np.float32), "int8")
        assert not q.any() and not scales.any()


def test_subnormal_scales_are_used():
    q, scales, _ = quantise_weights(np.full((1, 32), 8e-7, np.float32), "int4")
    # 1e-7 becomes twice the smallest half.
    assert scales[0, 0] == np.float16(-2**-23) and q[0, 0] == -7


def test_k_is_padded_with_zeros():
    w = weights(k=40)
    q, scales, _ = quantise_weights(w, "int8")
    assert q.shape == (20, 64) and scales.shape == (20, 2) and not q[:, 40:].any()
    assert np.abs(dequantise_weights(q, scales, "int8")[:, :40] - w).max() <= np.abs(w).max() / 250


def test_what_cannot_be_rounded_is_refused():
    with pytest.raises(ValueError, match="must be one of int8, int4, .*, not 'fp9'"):
        quantise_weights(weights(), "fp9")
    with pytest.raises(ValueError, match="a matrix, not an array of 1 dimensions"):
        quantise_weights(np.zeros(32), "int8")
    with pytest.raises(ValueError, match="a scale beyond FP16"):
        quantise_weights(np.full((1, 32), 1e9, np.float32), "int8")
    with pytest.raises(ValueError, match="a weight is infinite or not a number"):
        quantise_weights(np.full((1, 32), np.nan, np.float32), "mxfp8")
    with pytest.raises(ValueError, match="the scale rule must be one of floor, up, not 'even'"):
        quantise_weights(weights(), "mxfp8", "even")
