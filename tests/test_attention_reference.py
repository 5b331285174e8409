"""The attention reference against itself in two passes, against float64, and against ONNX."""

from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from hw.formats import KV
from verif.floats import rounded
from verif.formats import random_activations
from verif.reference.attention import attention, scores, weighted_values
from verif.reference.floats import NAN, add, bits, fixed_to_float, float_to_fixed
from verif.reference.functions import exp2_16
from verif.reference.pattern import blocks_read, seen
from verif.reference.quantise import quantise
from verif.reference.softmax import BLOCK, State, softmax


#: Elements of queries, and of keys and values.
ELEMENTS = [("int8", "int8"), ("e4m3", "e4m3"), ("int8", "e5m2"), ("e4m3", "e5m2")]


def dequantise(q, codes, element):
    q = q.astype(np.float64).reshape(*codes.shape, -1)
    unit = codes[..., None].astype(np.int64) - 127 + KV[element].lsb
    return np.ldexp(q, unit).reshape(*codes.shape[:-1], -1)


def example(seed, tokens, heads=2, size=64, spread=1.0, drift=0.0, activation="int8", kv="int8"):
    """Random quantised q, k, v; ``drift`` lets the scores grow from token to token."""
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(heads, size)) * np.log2(np.e) / np.sqrt(size) * spread
    k = rng.normal(size=(tokens, size)) + drift * np.arange(tokens)[:, None] / tokens * q[0]
    v = rng.normal(size=(tokens, size)) * np.exp2(rng.integers(-3, 4, (tokens, 1)))
    v_q, v_codes = quantise(v, size // BLOCK, kv)
    return (*quantise(q, element=activation), *quantise(k, element=kv), v_q, v_codes[:, 0],
            activation, kv)


def exact(q, q_codes, k, k_codes, v, v_codes, activation, kv, mask=True):
    """Attention of the same quantised operands in float64."""
    logits = dequantise(q, q_codes, activation) @ dequantise(k, k_codes, kv).T
    logits = np.where(mask, logits, -np.inf)
    p = np.exp2(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True) @ dequantise(v, v_codes[:, None], kv)


def two_pass(q, q_codes, k, k_codes, v, v_codes, activation, kv, mask=None):
    """Attention with the maximum of all tokens known before any probability is computed.

    One query at a time, and of each block only the tokens that ``mask`` [G, T] lets it see.
    """
    logits_of = float_to_fixed(scores(q, q_codes, k, k_codes, activation, kv))
    masks = np.ones(logits_of.shape, bool) if mask is None else mask
    outputs, totals = [], []
    for t, seen_by in zip(logits_of, masks, strict=True):
        maximum = (t[seen_by].max() + 0xFFFF) >> 16
        output = total = None
        for start in range(0, len(k), BLOCK):
            near = np.flatnonzero(seen_by[start:start + BLOCK]) + start
            if not near.size:
                continue
            logits, ev = t[near], v_codes[near].astype(np.int64) - 127
            block = (logits.max() + 0xFFFF) >> 16
            u, below = (block << 16) - logits, block - maximum
            k_shift = -(-u >> 16)
            x = exp2_16((k_shift << 16) - u).astype(np.int64)
            s = fixed_to_float((x * 256 >> np.minimum(k_shift, 31)).sum(), 1, below - 24)
            e = ev - k_shift
            p = np.minimum(np.rint(np.ldexp(x.astype(np.float64), e - e.max() - 10)), 127)
            term = weighted_values(p.astype(np.int8)[None], np.array([e.max() + below + 127]),
                                   v[near], kv)
            output = term if output is None else add(output, term)
            total = s if total is None else add(total, s)
        outputs.append(output[0])
        totals.append(total)
    return np.stack(outputs), np.stack(totals)


@pytest.mark.parametrize("tokens, spread, drift", [
    (1, 1, 0), (31, 2, 0), (32, 1, 0), (33, 4, 0), (100, 2, 20), (200, 8, 60), (512, 3, -40)])
@pytest.mark.parametrize("elements", ELEMENTS, ids=" ".join)
def test_one_pass_equals_two(tokens, spread, drift, elements):
    operands = example(len(elements[1]) + tokens, tokens, 2, 64, spread, drift, *elements)
    for online, twice in zip(attention(*operands), two_pass(*operands)):
        assert np.array_equal(bits(online), bits(twice))


PATTERNS = [(300, 5, 0, 0), (300, 40, 7, 3), (300, 64, 32, 1), (200, 1, 1, 4), (130, 100, 33, 40)]


@pytest.mark.parametrize("tokens, window, sinks, span", PATTERNS)
@pytest.mark.parametrize("elements", ELEMENTS, ids=" ".join)
def test_one_pass_equals_two_with_masks(tokens, window, sinks, span, elements):
    operands  = example(tokens + window, tokens, 4, 64, 3, 20, *elements)
    positions = tokens - 1 - span + np.arange(4) * span // 4
    mask = np.stack([seen(np.arange(tokens), p, window, sinks) for p in positions])
    found = attention(*operands, positions=positions, window=window, sinks=sinks)
    for online, twice in zip(found, two_pass(*operands, mask)):
        assert np.array_equal(bits(online), bits(twice))


@pytest.mark.parametrize("tokens, window, sinks, span", PATTERNS)
def test_only_the_blocks_that_are_read_have_to_be_given(tokens, window, sinks, span):
    operands  = example(tokens, tokens, 4)
    positions = tokens - 1 - np.arange(4)[::-1] * span // 4
    wanted = attention(*operands, positions=positions, window=window, sinks=sinks)
    numbers = [number for block in blocks_read(tokens, span + 1, window, sinks)
               for number in range(BLOCK * block, min(BLOCK * block + BLOCK, tokens))]
    read  = [x[numbers] for x in operands[2:6]]
    found = attention(*operands[:2], *read, *operands[6:], positions=positions, window=window,
                      sinks=sinks, numbers=numbers)
    for a, b in zip(found, wanted):
        assert np.array_equal(bits(a), bits(b))


def test_tokens_of_chosen_blocks_are_those_that_are_given():
    operands = example(4, 320, 3)
    numbers  = np.r_[0:32, 64:96, 288:310]
    mask     = np.isin(np.arange(320), numbers)
    found = attention(*operands[:2], *(x[numbers] for x in operands[2:6]), *operands[6:],
                      positions=[309] * 3, numbers=numbers)
    for a, b in zip(found, two_pass(*operands, np.broadcast_to(mask, (3, 320)))):
        assert np.array_equal(bits(a), bits(b))


@pytest.mark.parametrize("window, sinks", [(1, 0), (33, 0), (100, 4), (64, 32)])
@pytest.mark.parametrize("elements", ELEMENTS, ids=" ".join)
def test_a_window_is_close_to_attention_in_float64(window, sinks, elements):
    operands  = example(7, 260, 4, 64, 1, 0, *elements)
    positions = np.array([200, 230, 258, 259])
    mask = np.stack([seen(np.arange(260), p, window, sinks) for p in positions])
    output, total = attention(*operands, positions=positions, window=window, sinks=sinks)
    wanted = exact(*operands, mask)
    assert np.linalg.norm(output / total[:, None] - wanted) / np.linalg.norm(wanted) < 2e-2


def test_queries_of_a_chunk_see_what_each_would_alone():
    operands = example(9, 77, 5)
    output, total = attention(*operands, positions=range(72, 77))
    for n in range(5):
        alone = attention(operands[0][n:n + 1], operands[1][n:n + 1],
                          *(x[:73 + n] for x in operands[2:6]), *operands[6:])
        assert np.array_equal(bits(output[n]), bits(alone[0][0]))
        assert bits(total[n]) == bits(alone[1][0])


@pytest.mark.parametrize("tokens, spread", [(1, 1), (20, 1), (64, 3), (200, 1), (512, 4)])
@pytest.mark.parametrize("elements", ELEMENTS, ids=" ".join)
def test_close_to_attention_in_float64(tokens, spread, elements):
    operands = example(7, tokens, 4, 64, spread, 0, *elements)
    output, total = attention(*operands)
    wanted = exact(*operands)
    error = np.linalg.norm(output / total[:, None] - wanted) / np.linalg.norm(wanted)
    # A probability is off by up to 2^-7 of the largest of its block; independent values, as here,
    # are the worst case, because the result averages away while the errors do not.
    assert error < 2e-2


@pytest.mark.parametrize("activation, kv", ELEMENTS, ids=str)
def test_products_with_keys_and_values_are_rounded_once(activation, kv):
    rng = np.random.default_rng(5)
    q = random_activations(rng, KV[activation], (3, 32))
    k = random_activations(rng, KV[kv], (20, 32))
    q_codes, k_codes = rng.integers(60, 190, (3, 1)), rng.integers(60, 190, (20, 1))
    k_codes[3], p = 255, rng.integers(0, 128, (3, 32))
    units = KV[activation].lsb + KV[kv].lsb - 254, -133 + KV[kv].lsb
    y, t = scores(q, q_codes, k, k_codes, activation, kv), weighted_values(p, q_codes[:, 0], k, kv)
    for g, token in np.ndindex(3, 20):
        total = sum(int(a) * int(b) for a, b in zip(q[g], k[token]))
        wanted = rounded(total * Fraction(2)**int(q_codes[g, 0] + k_codes[token, 0] + units[0]))
        assert bits(y)[g, token] == (NAN if token == 3 else wanted)
    for g, channel in np.ndindex(3, 32):
        total = sum(int(a) * int(b) for a, b in zip(p[g], k[:, channel]))
        assert bits(t)[g, channel] == rounded(total * Fraction(2)**int(q_codes[g, 0] + units[1]))


def test_close_to_the_softmax_of_onnx():
    node = helper.make_node("Softmax", ["x"], ["y"], axis=1)
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, 32]) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "softmax", ports[:1], ports[1:]))
    logits = np.random.default_rng(1).normal(size=(3, 32)).astype(np.float32) * 3
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": logits})
    t = float_to_fixed(logits * np.float32(np.log2(np.e)))
    q, code, _, state = softmax(t, np.full(32, 127))
    p = np.ldexp(q.astype(np.float64), code[:, None] - 133) / state.total[:, None]
    # Half a step of the coarsest probability, relative to the largest.
    assert np.abs(p - wanted).max() < 0.6 * 2.0**-6 * wanted.max()
    assert onnx.__version__


def test_sums_of_probabilities_are_those_of_exponentials():
    t = np.random.default_rng(2).integers(-20 << 16, 20 << 16, (50, 32))
    *_, state = softmax(t, np.full(32, 127))
    wanted = np.exp2(t / 65536 - state.maximum[:, None]).sum(axis=1)
    assert np.allclose(state.total, wanted, rtol=2e-5)


def test_a_value_code_of_nan_makes_the_result_nan():
    operands = list(example(3, 40))
    operands[5][35] = 255
    output, total = attention(*operands)
    assert np.isnan(output).all() and np.isfinite(total).all()


@pytest.mark.parametrize("tokens, blocks", [(1, 1), (33, 2), (70, 3)])
def test_attention_of_many_heads_is_that_of_each(tokens, blocks):
    rng = np.random.default_rng(tokens)
    size = 32 * blocks
    q = rng.integers(-127, 128, (2, 3, 4, size)).astype(np.int8)
    q_codes = rng.integers(110, 128, (2, 3, 4, blocks)).astype(np.uint8)
    k, v = (rng.integers(-127, 128, (2, 3, tokens, size)).astype(np.int8) for _ in range(2))
    k_codes = rng.integers(115, 128, (2, 3, tokens, blocks)).astype(np.uint8)
    v_codes = rng.integers(100, 135, (2, 3, tokens)).astype(np.uint8)
    v_codes[1, 2, 0] = 255
    output, total = attention(q, q_codes, k, k_codes, v, v_codes)
    for at in np.ndindex(2, 3):
        wanted = attention(q[at], q_codes[at], k[at], k_codes[at], v[at], v_codes[at])
        assert np.array_equal(bits(output[at]), bits(wanted[0]))
        assert np.array_equal(bits(total[at]), bits(wanted[1]))
    assert np.isnan(output[1, 2]).all() and np.isfinite(output[:, :2]).all()


def test_a_block_of_which_nothing_is_seen_changes_nothing():
    rng = np.random.default_rng(6)
    t, codes = rng.integers(-9 << 16, 9 << 16, (3, 2, 32)), rng.integers(0, 256, 32)
    *_, state = softmax(t[0], np.full(32, 127))
    for before in (state, None):
        q, code, shift, after = softmax(t[1], codes, before, np.zeros(32, bool))
        assert not q.any() and not code.any() and not shift.any()
        _, _, shift, last = softmax(t[2], np.full(32, 127), after)
        _, _, wanted_shift, wanted = softmax(t[2], np.full(32, 127), before)
        if before is not None:
            assert np.array_equal(after, before) and np.array_equal(shift, wanted_shift)
        else:
            assert (after.maximum == -32768).all() and not after.total.any()
        assert np.array_equal(last.maximum, wanted.maximum)
        assert np.array_equal(bits(last.total), bits(wanted.total))


def test_what_is_not_seen_is_never_looked_at():
    rng = np.random.default_rng(8)
    t, codes = rng.integers(-9 << 16, 9 << 16, (2, 32)), rng.integers(120, 130, 32)
    mask = rng.random((2, 32)) < 0.5
    mask[:, 31] = False
    wanted = softmax(t, codes, None, mask)
    codes[31] = 255
    found = softmax(np.where(mask, t, 2**31 - 1), codes, None, mask)
    assert all(np.array_equal(a, b) for a, b in zip(found[:3] + found[3], wanted[:3] + wanted[3]))


def test_a_block_far_below_the_maximum_adds_nothing():
    state = State(np.array([1000]), np.array([1.5], np.float32))
    q, code, shift, after = softmax(np.zeros((1, 32), np.int64), np.full(32, 200), state)
    assert not q.any() and code[0] == 0 and shift[0] == 0
    assert after.maximum[0] == 1000 and after.total[0] == np.float32(1.5)


def test_a_block_far_above_the_maximum_replaces_what_was():
    state = State(np.array([-1000]), np.array([1.5], np.float32))
    _, code, shift, after = softmax(np.zeros((1, 32), np.int64), np.full(32, 127), state)
    assert shift[0] == 255 and code[0] == 127 and after.total[0] == np.float32(32)


@pytest.mark.parametrize("count", [0, 33])
def test_wrong_number_of_tokens(count):
    with pytest.raises(ValueError, match=f"a block has 1 to 32 tokens, not {count}"):
        softmax(np.zeros((1, count), np.int64), np.zeros(count))


def test_a_window_needs_positions():
    with pytest.raises(ValueError, match="a window of 4 tokens needs positions of the queries"):
        attention(*example(1, 40), window=4)


def test_numbers_of_tokens_ascend():
    with pytest.raises(ValueError, match="the numbers of tokens must ascend"):
        attention(*example(1, 3), numbers=[1, 2, 2])
