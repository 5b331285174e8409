"""The vector operations' references against float64 mathematics and against ONNX."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from hw.formats import KV, NAN
from verif.reference.divide import divide
from verif.reference.floats import bits, maximum, minimum
from verif.reference.gate import gate
from verif.reference.norm import norm
from verif.reference.pick import noise, pick
from verif.reference.quantise import RULES, quantise
from verif.reference.rope import rope


#: Relative error of one FP32 rounding.
EPSILON = 2.0**-24


def values(seed, *shape, spread=3.0):
    """Normal numbers over several powers of two."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * np.exp2(rng.uniform(-spread, spread, shape))
    return x.astype(np.float32)


def onnx_result(operator, inputs, **attributes):
    """Result of one ONNX operator on float32 arrays."""
    names = [f"x{n}" for n in range(len(inputs))]
    typed = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
             for name, x in zip(names, inputs)]
    node = helper.make_node(operator, names, ["y"], **attributes)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, inputs[0].shape)
    graph = helper.make_graph([node], "one", typed, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    onnx.checker.check_model(model)
    return ReferenceEvaluator(model).run(None, dict(zip(names, inputs)))[0]


@pytest.mark.parametrize("length", [32, 128, 288, 2048])
def test_norm_is_rms_norm(length):
    x, gain, epsilon = values(1, 5, length), values(2, length), 1e-5
    y = norm(x, gain * np.float32(np.sqrt(length)), np.float32(length * epsilon))
    exact = x.astype(np.float64) / np.sqrt((x.astype(np.float64)**2).mean(-1, keepdims=True)
                                           + epsilon) * gain
    assert np.abs(y / exact - 1).max() < (8 + length / 64) * EPSILON
    theirs = onnx_result("RMSNormalization", [x, gain], epsilon=epsilon)
    np.testing.assert_allclose(y, theirs, rtol=2e-6)


def test_norm_sums_each_block_by_a_tree_and_blocks_in_order():
    """2^24 + 1 loses the 1: so sums tell the order in which they were made."""
    x = np.zeros(96, np.float32)
    x[0], x[1], x[32], x[64] = 4096, 1, 1, 1
    assert norm(x, np.ones(96, np.float32), 0)[0] == 1
    x = np.zeros(32, np.float32)
    x[0], x[2], x[3] = 4096, 1, 1
    # The pair (1, 1) is summed before it meets 2^24, so that it counts.
    assert norm(x, np.ones(32, np.float32), 0)[0] < 1


def test_norm_of_zeros_without_epsilon_is_nan():
    assert (bits(norm(np.zeros(32, np.float32), np.ones(32, np.float32), 0)) == 0x7FC00000).all()


def test_norm_refuses_parts_of_blocks():
    with pytest.raises(ValueError, match="whole blocks of 32, not 40 elements"):
        norm(np.ones(40, np.float32), np.ones(40, np.float32), 0)


@pytest.mark.parametrize("heads, size", [(1, 32), (4, 64), (3, 96)])
def test_rope_rotates_adjacent_pairs(heads, size):
    x = values(3, heads, size)
    angle = 17 * 10000.0**(-np.arange(0, size, 2) / size)
    table = np.stack([np.cos(angle), np.sin(angle)], -1).reshape(-1).astype(np.float32)
    y = rope(x.reshape(-1), table).reshape(heads, size)

    turned = (x[:, 0::2] + 1j * x[:, 1::2]).astype(np.complex128) * np.exp(1j * angle)
    exact = np.stack([turned.real, turned.imag], -1).reshape(heads, size)
    bound = 4 * EPSILON * np.repeat(np.abs(turned), 2, -1)
    assert (np.abs(y - exact) <= bound).all()

    theirs = onnx_result("RotaryEmbedding",
                         [x[None, :, None], table[0::2][None, None], table[1::2][None, None]],
                         interleaved=1)
    np.testing.assert_allclose(y, theirs[0, :, 0], rtol=1e-6, atol=1e-6)


def test_rope_may_end_inside_the_table():
    x, table = values(4, 96), values(5, 64)
    assert (rope(x, table) == rope(x, np.concatenate([table, table[:32]]))).all()


def test_gate_is_silu_times():
    a, b = values(6, 4096, spread=5), values(7, 4096)
    y = gate(a, b)
    wide = a.astype(np.float64)
    exact = wide / (1 + np.exp(-wide)) * b
    # The exponent's rounding grows with its size.
    assert (np.abs(y - exact) <= np.abs(exact) * (8 + 2 * np.abs(wide)) * EPSILON).all()
    silu = wide / (1 + np.exp(-wide))
    assert np.abs(gate(a, np.ones_like(a)) - silu).max() < 1e-6 * np.abs(a).max()


def test_gate_of_extreme_values():
    a = np.array([np.inf, 200, -200, -np.inf, np.nan, 0, 1e-40], np.float32)
    y = gate(a, np.ones_like(a))
    assert y[0] == np.inf and y[1] == 200 and y[2] == 0 and y[5] == 0 and y[6] == 0
    assert np.isnan(y[3]) and np.isnan(y[4])


def test_divide_takes_one_divisor_for_each_head():
    x, l = values(8, 6 * 32), np.abs(values(9, 3))
    exact = x.reshape(3, 64).astype(np.float64) / l[:, None]
    assert np.abs(divide(x, l, 2).reshape(3, 64) / exact - 1).max() < 4 * EPSILON


@pytest.mark.parametrize("group", [1, 2, 3])
def test_quantise_keeps_half_an_lsb(group):
    x = values(10, 7, 5 * 32, spread=8)
    q, codes = quantise(x, group)
    lsb = np.repeat(np.exp2(codes - 133.0), 32, -1)
    largest = np.abs(q * lsb - x).reshape(7, -1)
    assert (largest <= np.where(np.abs(q) == 127, 1, 0.5) * lsb).all()
    for start in range(0, 5, group):
        part = slice(start * 32, (start + group) * 32)
        amax = np.abs(x[:, part]).max(-1)
        assert (codes[:, start:start + group]
                == (np.floor(np.log2(amax)) + 127)[:, None]).all()
        assert (np.abs(q[:, part].astype(int)).max(-1) >= 64).all()


@pytest.mark.parametrize("x, code, q", [
    (0, 0, 0), (1e-40, 0, 0), (np.inf, 255, 0), (-np.inf, 255, 0), (np.nan, 255, 0),
    (1, 127, 64), (-1, 127, -64), (1.9999999, 127, 127), (-1.9999999, 127, -127),
    (1 + 2**-7, 127, 64), (1 + 3 * 2**-7, 127, 66), (2**-126, 1, 64), (3.4e38, 254, 127),
])
def test_quantise_of_single_values(x, code, q):
    row = np.zeros(32, np.float32)
    row[5] = x
    elements, codes = quantise(row)
    assert codes == code and elements[5] == q and not elements[:5].any()


@pytest.mark.parametrize("element, rule, x, code, value", [
    ("int8", "up", 127 / 64, 127, 127 / 64), ("int8", "up", -1.9843751, 128, -2),
    ("int8", "up", 3.4e38, 254, 127 / 64 * 2.0**127), ("int8", "up", 2**-126, 1, 2**-126),
    ("e4m3", "floor", 1, 119, 1), ("e4m3", "floor", 1.99, 119, 1.75), ("e4m3", "up", 1.99, 120, 2),
    ("e4m3", "up", 1.75, 119, 1.75), ("e4m3", "floor", -1.0625, 119, -1),
    ("e4m3", "floor", 3.4e38, 246, 1.75 * 2.0**127), ("e4m3", "up", 3.4e38, 247, 2.0**128),
    ("e4m3", "floor", 2**-126, 0, 2**-126), ("e4m3", "up", 1.9 * 2**-119, 1, 1.875 * 2**-119),
    ("e5m2", "floor", 1, 112, 1), ("e5m2", "floor", 1.125, 112, 1), ("e5m2", "up", 1.9, 113, 2),
    ("e5m2", "up", 1e-36, 0, 1.25 * 2**-120), ("e5m2", "floor", np.nan, 255, 0),
    ("e4m3", "up", np.inf, 255, 0), ("e4m3", "up", 1e-39, 0, 0),
])
def test_quantise_to_other_elements(element, rule, x, code, value):
    row = np.zeros(64, np.float32)
    row[37] = x
    elements, codes = quantise(row, 2, element, rule)
    assert codes.tolist() == [code, code] and np.count_nonzero(elements) == (value != 0)
    assert elements[37] * 2.0**(KV[element].lsb + code - 127) == value


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("element", KV)
def test_what_is_small_beside_a_block_keeps_its_own_digits(element, rule):
    x = values(12, 1000, 64, spread=8)
    elements, codes = quantise(x, 2, element, rule)
    unit = np.exp2(codes[:, :1] - 127.0 + KV[element].lsb)
    digits = {"e4m3": 2.0**-4, "e5m2": 2.0**-3}.get(element, 0)
    error = np.abs(elements * unit - x)
    clipped = np.abs(elements) == KV[element].largest
    step = 16 * unit if element == "int4" else unit
    nearest = error <= np.maximum(digits * np.abs(x), step / 2)
    assert clipped.any() and (error <= np.abs(x) / 8)[clipped].all()
    # Rounding the scale up clips nothing.
    assert nearest[~clipped].all() and (rule == "floor" or nearest.all())


@pytest.mark.parametrize("rule", RULES)
def test_int4_is_the_nearest_of_15_numbers(rule):
    """Each element is compared with all of -7/4 .. 7/4; of two as near, the even one is meant."""
    rng, numbers = np.random.default_rng(16), np.arange(-7, 8) / 4
    x = np.concatenate([values(17, 500, 32, spread=8),
                        np.ldexp(rng.integers(-64, 65, (500, 32)), rng.integers(-9, 9, (500, 1)))])
    x = x.astype(np.float32)
    elements, codes = quantise(x, element="int4", rule=rule)
    for row, found, code in zip(x.astype(np.float64), elements, codes[:, 0].tolist()):
        largest = np.abs(row).max()
        power = 2.0**(code - 127)
        assert power <= largest < 2 * power if rule == "floor" else (
            1.75 / 2 * power < largest <= 1.75 * power)
        distance = np.abs(row[:, None] / power - numbers)
        # A quarter is odd if it is an odd number of them.
        nearest = np.argmin(distance + 1e-12 * (4 * numbers % 2 == 1), axis=1)
        assert np.array_equal(found * 2.0**-6, numbers[nearest])


def test_codes_of_int4_are_the_upper_halves_of_bytes():
    """As another library knows the upper halves; no other byte is a number."""
    element = KV["int4"]
    codes = np.arange(16)
    wanted = (codes - (codes >> 3 << 4)).astype(ml_dtypes.int4).astype(np.float64) / 4
    assert np.array_equal(element.decode(codes << 4) * 2.0**element.lsb, wanted)
    assert (element.decode([n for n in range(256) if n % 16]) == NAN).all()
    integers = np.arange(-7, 8) * 16
    assert np.array_equal(element.encode(integers).view(np.int8), integers)
    with pytest.raises(ValueError, match="mxint4 elements are -128 to 112"):
        element.encode([8])


def test_quantise_refuses_other_rules():
    with pytest.raises(ValueError, match="the scale rule must be one of floor, up, not 'even'"):
        quantise(np.ones(32), rule="even")
    with pytest.raises(ValueError, match="a vector must be whole blocks of 32, not 33 elements"):
        quantise(np.ones(33))


@pytest.mark.parametrize("element", KV)
def test_parts_of_one_sign_add_up_to_the_whole(element):
    x = values(13, 40, 64, spread=8)
    (q, codes), (above, upper), (below, lower) = (
        quantise(x, 2, element, "up", sign) for sign in ("all", "positive", "negative"))
    assert (codes == upper).all() and (codes == lower).all()
    assert (above >= 0).all() and (below <= 0).all() and (above + below == q).all()


def test_quantise_refuses_other_signs():
    with pytest.raises(ValueError,
                       match="sign must be one of all, positive, negative, not 'plus'"):
        quantise(np.ones(32), sign="plus")


def test_extremes_are_those_of_onnx():
    a, b = values(14, 4096), values(15, 4096)
    assert (maximum(a, b) == onnx_result("Max", [a, b])).all()
    assert (minimum(a, b) == onnx_result("Min", [a, b])).all()


@pytest.mark.parametrize("a, b, larger, smaller", [
    (0, -0.0, 0, 0), (-0.0, -0.0, 0, 0), (-1e-40, -1, 0, 0xBF800000), (1e-40, 1, 0x3F800000, 0),
    (np.nan, 1, 0x7FC00000, 0x7FC00000), (-np.inf, -np.nan, 0x7FC00000, 0x7FC00000),
    (np.inf, -np.inf, 0x7F800000, 0xFF800000), (-2, -1, 0xBF800000, 0xC0000000),
])
def test_extremes_of_special_values(a, b, larger, smaller):
    for x, y in ((a, b), (b, a)):
        x, y = np.float32(x), np.float32(y)
        assert bits(maximum(x, y)) == larger and bits(minimum(x, y)) == smaller


def test_pick_is_argmax():
    x = values(11, 20, 64)
    assert (pick(x, 0.5) == x.argmax(-1)).all()
    assert (pick(x, -1) == x.argmin(-1)).all()


@pytest.mark.parametrize("x, index", [
    ([1, 3, 3, 2], 1), ([-0.0, 0.0, -1, 0], 0), ([np.nan, -np.inf, np.nan, 0], 3),
    ([np.nan, np.nan, -np.inf, np.nan], 2), ([np.nan] * 4, 0), ([-5, -4, np.nan, -4], 1),
    ([1, np.inf, np.inf, np.nan], 1), ([-1e-40, -1, 1e-40, -2], 0),
])
def test_pick_of_special_values(x, index):
    assert pick(np.array(x, np.float32), 1) == index


def test_noise_is_gumbel():
    sample = noise(np.arange(1 << 17), 5, 0x123456789ABCDEF)
    assert abs(sample.mean() - np.euler_gamma) < 0.02
    assert abs(sample.std() - np.pi / np.sqrt(6)) < 0.02
    ordered = np.sort(sample.astype(np.float64))
    cumulative = np.exp(-np.exp(-ordered))
    assert np.abs(cumulative - np.arange(len(ordered)) / len(ordered)).max() < 0.006


def test_noise_depends_on_index_position_and_seed_alone():
    base = noise(np.arange(64), 5, 7)
    assert (noise(np.arange(32, 64), 5, 7) == base[32:]).all()
    assert (base[0::2] != base[1::2]).all()
    assert (noise(np.arange(64), 6, 7) != base).any()
    assert (noise(np.arange(64), 5, 7 << 32) != base).any()


def test_sampling_follows_the_softmax():
    """Argmax of logits with Gumbel noise draws each token with its probability."""
    logits = np.array([0, 1, 2, -1], np.float32)
    draws = pick(logits, 1, noise(np.arange(4), np.arange(20000)[:, None], 99))
    p = np.exp(logits) / np.exp(logits).sum()
    assert np.abs(np.bincount(draws, minlength=4) / 20000 - p).max() < 0.015
