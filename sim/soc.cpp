// The Verilated system of a board, with a serial line at its pins, behind a C interface.

#include <cstdint>
#include <deque>
#include <vector>

#include "Vsoc.h"
#include "verilated.h"

// Times are in 256ths of a clock cycle.
static const int64_t CYCLE = 256;

// Bytes that the host sends: 8 bits, no parity, one stop bit.
struct Sender {
    std::deque<uint8_t> bytes;
    uint32_t shift = 0;
    int bits = 0;
    int64_t left = 0;

    int level(int64_t period) {
        if (left < CYCLE && bits) {
            shift >>= 1;
            bits--;
            left += period;
        }
        if (!bits && !bytes.empty()) {
            shift = bytes.front() << 1 | 0x200;
            bytes.pop_front();
            bits = 10;
            left = period;
        }
        if (bits) left -= CYCLE;
        return bits ? shift & 1 : 1;
    }
};

// Bytes that the device sends, each bit sampled in its middle.
struct Receiver {
    std::vector<uint8_t> bytes;
    uint32_t shift = 0;
    int bits = 0;
    int64_t left = 0;

    void sample(int level, int64_t period) {
        if (!bits) {
            if (level) return;
            bits = 10;
            left = period / 2;
        }
        left -= CYCLE;
        if (left > 0) return;
        left += period;
        shift = shift >> 1 | level << 9;
        if (--bits == 0 && (shift & 0x200) && !(shift & 1)) bytes.push_back(shift >> 1);
    }
};

struct Soc {
    VerilatedContext context;
    Vsoc top{&context};
    Sender sender;
    Receiver receiver;
    int64_t period;
    uint64_t cycle = 0;

    explicit Soc(int64_t period) : period(period) {
        top.rx = 1;
        top.rst = 1;
        for (int n = 0; n < 4; n++) tick();
        top.rst = 0;
    }

    ~Soc() { top.final(); }

    void tick() {
        top.clk = 0;
        top.eval();
        receiver.sample(top.tx, period);
        top.clk = 1;
        top.eval();
        top.rx = sender.level(period);
        cycle++;
    }
};

extern "C" {

Soc *soc_new(int64_t period) { return new Soc(period); }

void soc_free(Soc *soc) { delete soc; }

uint64_t soc_cycle(Soc *soc) { return soc->cycle; }

// Hand bytes to the line; they take their time.
void soc_send(Soc *soc, const uint8_t *bytes, uint64_t count) {
    soc->sender.bytes.insert(soc->sender.bytes.end(), bytes, bytes + count);
}

void soc_run(Soc *soc, uint64_t cycles) {
    for (uint64_t n = 0; n < cycles; n++) soc->tick();
}

// Bytes that came since the last call, up to `room`; returns how many.
uint64_t soc_take(Soc *soc, uint8_t *bytes, uint64_t room) {
    auto &all = soc->receiver.bytes;
    uint64_t count = all.size() < room ? all.size() : room;
    for (uint64_t n = 0; n < count; n++) bytes[n] = all[n];
    all.erase(all.begin(), all.begin() + count);
    return count;
}

}  // extern "C"
