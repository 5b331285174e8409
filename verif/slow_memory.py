"""A memory that lets reads and writes overtake each other as far as AXI allows."""

from collections import deque

from verif.axi import AxiMemory, Channel


__all__ = ["SlowMemory"]


class SlowMemory(AxiMemory):
    """Looks at a word when it is asked for it, and writes a word when it acknowledges it.

    So a read gives what was there before all writes that are on their way; of :class:`AxiMemory`
    it gives what they leave.
    """

    def channel(self, *arguments):
        return SlowChannel(self, *arguments)


class SlowChannel(Channel):
    """One AXI slave: words that were looked at and not given, writes that were not done."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.early, self.late = deque(), deque()

    def read(self, request):
        before = len(self.reads)
        super().read(request)
        self.early += [super(SlowChannel, self).fetch(address)
                       for _, address, _ in list(self.reads)[before:]]

    def fetch(self, address):
        return self.early.popleft()

    def store(self, address, request):
        self.late.append((address, request))

    def offer_answer(self):
        waiting = len(self.answers)
        super().offer_answer()
        if len(self.answers) < waiting:
            super().store(*self.late.popleft())
