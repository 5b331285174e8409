"""Proofs of the queues, the stream reader, the arbiter, the cache, the memory port, the end of
runs, the registers, the order of keys and values, and the counters."""

import pytest

from hw.config import Config
from hw.memory.fifo import Fifo
from hw.memory.queue import Queue
from verif.formal.arbiter import ArbiterSpec
from verif.formal.cache import RepliesSpec, ThroughSpec
from verif.formal.fifo import FifoSpec
from verif.formal.order import OrderSpec
from verif.formal.port import PortSpec
from verif.formal.prove import prove
from verif.formal.reader import ReaderSpec
from verif.formal.registers import RegistersSpec
from verif.formal.rest import RestSpec
from verif.formal.semaphores import SemaphoresSpec


class FewWords(Config):
    """Of four times as many words in flight there are too many states."""

    words_written = 2


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_queue(depth):
    prove(FifoSpec(Queue(2, depth), places=depth, latency=Queue.latency), f"queue_{depth}")


def test_queue_with_a_register():
    prove(FifoSpec(Queue(2, 2, registered=True), places=3, latency=2), "queue_registered")


def test_fifo():
    prove(FifoSpec(Fifo(2, 4), places=5, latency=Fifo.latency), "fifo")


@pytest.mark.parametrize("item_words, cached", [(1, False), (2, False), (2, True)])
def test_reader(item_words, cached):
    config = Config(name="proof", slices=1 + cached, burst=4, outstanding=2, w_fifo=512,
                    d_fifo=512)
    prove(ReaderSpec(config, 8 * config.word_bytes, item_words, cached),
          f"reader_{item_words}{'_cached' * cached}", engine="smtbmc yices", depth=2)


def test_arbiter():
    config = Config(name="proof", slices=1, data_bits=32, outstanding=2, w_fifo=512, d_fifo=512)
    prove(ArbiterSpec(config, words=2), "arbiter", timeout=600)


def test_writes_past_the_cache():
    prove(ThroughSpec(), "cache_through", engine="smtbmc yices", depth=3)


@pytest.mark.parametrize("reads", [True, False])
def test_replies_of_the_cache(reads):
    prove(RepliesSpec(reads), f"cache_replies_{int(reads)}")


def test_memory_port():
    """AXI is obeyed, and the host's windows, whatever the program is and memory does."""
    config = FewWords(name="proof", slices=1, data_bits=32, address_bits=32, burst=16,
                      outstanding=2, w_fifo=512, d_fifo=512)
    prove(PortSpec(config), "port", timeout=300)


def test_every_run_that_must_end_does():
    """Whatever the core asks for, and memory does or leaves undone."""
    config = FewWords(name="proof", slices=1, data_bits=32, address_bits=32, burst=16,
                      outstanding=2, w_fifo=512, d_fifo=512)
    prove(RestSpec(config, watchdog=3, words=2), "rest", timeout=300)


@pytest.mark.parametrize("ecc", [0, 1])
def test_registers(ecc):
    prove(RegistersSpec(Config(name="proof", ecc=ecc)), f"registers_{ecc}", engine="smtbmc yices",
          depth=2)


@pytest.mark.parametrize("takes, raises", [(1, 1), (3, 2)])
def test_semaphores(takes, raises):
    prove(SemaphoresSpec(takes, raises, number=5), f"semaphores_{takes}_{raises}")


@pytest.mark.parametrize("ahead", [1, 3])
def test_order(ahead):
    prove(OrderSpec(ahead), f"order_{ahead}")
