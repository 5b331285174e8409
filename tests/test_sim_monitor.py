"""Every rule of the AXI monitor finds a trace that breaks it, and no legal trace breaks one."""

import re
from pathlib import Path

import pytest

from tests.axi_traces import BURST, OUTSTANDING, Trace


SOURCE = (Path(__file__).parent.parent / "sim" / "monitor.h").read_text()
PAGE_OF_RULES = Path(__file__).parent.parent / "docs" / "simulator.md"

#: The handshakes: VALID, READY, and a payload.
HANDSHAKES = {
    **{name: (f"{name}valid", f"{name}ready", payload) for name, payload in (
        ("ar", "araddr"), ("aw", "awaddr"), ("w", "wdata"), ("r", "rdata"), ("b", "bresp"))},
    **{f"lite_{name}": (f"s_{name}valid", f"s_{name}ready", f"s_{payload}") for name, payload in (
        ("ar", "araddr"), ("aw", "awaddr"), ("w", "wstrb"), ("r", "rdata"), ("b", "bresp"))},
}


@pytest.fixture
def trace():
    trace = Trace()
    yield trace
    trace.close()


def ask(trace):
    """Requests of each kind, so that an answer may come."""
    trace.read()
    trace.write()
    trace.cycle("s_arvalid s_arready")
    trace.cycle("s_awvalid s_awready s_wvalid s_wready")


def late(trace):
    for _ in range(18):
        trace.cycle("s_arvalid")


def unfinished(trace):
    """Two words, where one was announced."""
    trace.cycle("awvalid awready", awlen=0)
    trace.cycle("wvalid wready", wlast=0)


def ahead(trace):
    for _ in range(3):
        trace.cycle("wvalid wready", wlast=1)


def many(request):
    def act(trace):
        for _ in range(OUTSTANDING + 1):
            request(trace)
    return act


def windowed(act):
    def limited(trace):
        trace.library.trace_window(trace.trace, 1, 3)
        act(trace)
    return limited


#: What breaks each rule that is not one of the handshakes'.
BREAKS = {
    "reset":    lambda t: (t.cycle("arvalid", reset=True), t.cycle("bvalid", reset=True)),
    "ar_burst": lambda t: t.read(arburst=2),
    "ar_size":  lambda t: t.read(arsize=1),
    "ar_aligned": lambda t: t.read(araddr=2),
    "ar_4k":    lambda t: t.read(2, araddr=4092),
    "ar_len":   lambda t: t.read(BURST + 1),
    "ar_window": windowed(lambda t: t.read(araddr=3 * 4096)),
    "ar_outstanding": many(lambda t: t.read()),
    "ar_id":    lambda t: t.read(arid=1),
    "ar_lock":  lambda t: t.read(arlock=1),
    "ar_cache": lambda t: t.read(arcache=2),
    "ar_prot":  lambda t: t.read(arprot=2),
    "ar_qos":   lambda t: t.read(arqos=1),
    "aw_burst": lambda t: t.write(awburst=0),
    "aw_size":  lambda t: t.write(awsize=3),
    "aw_aligned": lambda t: t.write(awaddr=1),
    "aw_4k":    lambda t: t.cycle("awvalid", awaddr=4092, awlen=1),
    "aw_len":   lambda t: t.cycle("awvalid", awlen=BURST),
    "aw_window": windowed(lambda t: t.write(awaddr=4092)),
    "aw_outstanding": many(lambda t: t.write()),
    "aw_id":    lambda t: t.write(awid=1),
    "aw_lock":  lambda t: t.write(awlock=1),
    "aw_cache": lambda t: t.write(awcache=15),
    "aw_prot":  lambda t: t.write(awprot=1),
    "aw_qos":   lambda t: t.write(awqos=8),
    "w_last":   unfinished,
    "w_strobe": lambda t: t.write(awsize=0, awaddr=1, wstrb=3),
    "w_empty":  lambda t: t.write(wstrb=0),
    "w_lead":   ahead,
    "r_unasked": lambda t: t.data(),
    "r_last":   lambda t: (t.read(2), t.data(last=1)),
    "r_id":     lambda t: (t.read(), t.data(rid=1)),
    "r_resp":   lambda t: (t.read(), t.data(rresp=1)),
    "b_unasked": lambda t: t.answer(),
    "b_id":     lambda t: (t.write(), t.answer(bid=1)),
    "b_resp":   lambda t: (t.write(), t.answer(bresp=1)),
    "rest":     lambda t: (t.cycle(ended=True), t.cycle("arvalid", ended=True)),
    "lite_reset": lambda t: (t.cycle(reset=True), t.cycle("s_rvalid", reset=True)),
    "lite_r_unasked": lambda t: t.cycle("s_rvalid"),
    "lite_b_unasked": lambda t: (t.cycle("s_awvalid s_awready"), t.cycle("s_bvalid")),
    "lite_resp": lambda t: (ask(t), t.cycle("s_rvalid", s_rresp=1)),
    "lite_slow": late,
}


@pytest.mark.parametrize("rule", BREAKS)
def test_a_trace_that_breaks_a_rule_is_found(trace, rule):
    assert not trace.rules
    BREAKS[rule](trace)
    assert rule in trace.rules
    assert trace.problem.startswith(tuple(f"{name}: " for name in trace.rules))


@pytest.mark.parametrize("name", HANDSHAKES)
def test_what_is_offered_stays_until_it_is_taken(trace, name):
    valid, ready, payload = HANDSHAKES[name]
    ask(trace)
    trace.cycle(valid)
    trace.cycle(valid)
    assert not trace.rules
    trace.cycle(valid, **{payload: 4})
    assert trace.rules >= {f"{name}_stable"}
    trace.cycle(f"{valid} {ready}")
    assert f"{name}_valid" not in trace.rules
    ask(trace)
    trace.cycle(valid)
    trace.cycle()
    assert f"{name}_valid" in trace.rules


@pytest.mark.parametrize("wire", [
    f"{kind}{name}" for kind in ("ar", "aw")
    for name in ("addr", "len", "size", "burst", "id", "lock", "cache", "prot", "qos")]
    + ["wdata", "wstrb", "wlast", "rid", "rdata", "rresp", "rlast", "bid", "bresp",
       "s_araddr", "s_awaddr", "s_wdata", "s_wstrb", "s_rdata", "s_rresp", "s_bresp"])
def test_every_payload_is_compared(trace, wire):
    full = wire.removeprefix("s_")
    kind = full[:2] if full[:2] in ("ar", "aw") else full[:1]
    name = f"lite_{kind}" if wire.startswith("s_") else kind
    ask(trace)
    trace.cycle(HANDSHAKES[name][0])
    trace.cycle(HANDSHAKES[name][0], **{wire: 5})
    assert f"{name}_stable" in trace.rules


def test_a_write_of_too_few_words_is_found_at_its_last(trace):
    trace.cycle("awvalid awready", awlen=1)
    trace.cycle("wvalid wready", wlast=1)
    assert trace.rules == {"w_last"}


def test_a_response_before_the_last_word_is_found(trace):
    trace.cycle("awvalid awready", awlen=1)
    trace.cycle("wvalid wready", wlast=0)
    trace.answer()
    assert trace.rules == {"b_unasked"}


def test_legal_traces_break_no_rule(trace):
    """Data before their address, long bursts, answers late and early, errors."""
    assert trace.rests
    trace.cycle("wvalid wready", wlast=1)
    assert not trace.rests
    trace.cycle("awvalid awready", awlen=0)
    trace.cycle("bvalid", bresp=2)
    trace.answer(bresp=2)
    trace.cycle("awvalid awready", awlen=2, awaddr=4096 - 12)
    for last in (0, 0, 1):
        trace.cycle("wvalid", wlast=last, wdata=last, wstrb=1)
        trace.cycle("wvalid wready")
    trace.answer(bresp=0)
    assert trace.rests
    for _ in range(OUTSTANDING):
        trace.read(BURST, araddr=4096 - 4 * BURST)
    for n in range(OUTSTANDING * BURST):
        assert not trace.rests
        last = n % BURST == BURST - 1
        trace.cycle("rvalid", rlast=last, rdata=n, rresp=3 * (n % 2))
        trace.data(last=last)
    assert trace.rests
    ask(trace)
    trace.cycle("s_rvalid s_bvalid", s_rresp=2)
    trace.cycle("s_rvalid s_rready s_bvalid s_bready")
    trace.data(rresp=0)
    # A bus that is not at rest when a run ends may go on with what it has.
    trace.cycle("arvalid", ended=True)
    trace.cycle("arvalid arready bvalid bready", ended=True, arlen=0)
    trace.cycle("rvalid rready", ended=True, rlast=1)
    assert trace.rests
    assert not trace.rules and not trace.problem


def test_a_reset_forgets_what_was_under_way(trace):
    ask(trace)
    trace.cycle("awvalid wvalid wready rvalid s_rvalid", wlast=0)
    trace.cycle("arvalid s_rvalid", reset=True)
    trace.cycle(reset=True)
    trace.cycle()
    assert trace.rests and not trace.rules
    trace.data()
    assert trace.rules == {"r_unasked"}


def test_every_rule_is_tested_and_listed():
    """The names in the source, in this file, and in the page are the same."""
    literal = set(re.findall(r'report\("(\w+)"', SOURCE))
    built = {f"{kind}{end}" for end in re.findall(r'k \+ "(\w+)"', SOURCE) for kind in ("ar", "aw")}
    held = {f"{name}{end}" for end in re.findall(r'name \+ "(\w+)"', SOURCE)
            for name in HANDSHAKES}
    assert len(held) == 20
    assert literal | built == set(BREAKS)
    text = PAGE_OF_RULES.read_text()
    listed = text[text.index("## Rules"):]
    for rule in literal | built | {f"{kind}_{what}" for kind in ("ar", "aw", "w", "r", "b")
                                   for what in ("valid", "stable")}:
        assert f"`{rule}`" in listed, f"docs/simulator.md does not list {rule}"
