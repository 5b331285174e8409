// The Verilated system of a board, with a serial line and perhaps an SDRAM at its pins, behind a C
// interface.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "port.h"
#include "ports.h"
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

// An SDRAM: what it does, not how fast it must be; the bench of the controller checks that.
//
// Bits of addresses, data pins, and cycles from a read to its data.
struct SdramShape {
    int pins, bank_bits, row_bits, column_bits, cas;
};

class Sdram {
    SdramShape shape;
    Port command, ba, a, dqm, dq_o, dq_i;
    std::vector<uint8_t> cells;
    std::vector<uint32_t> rows;
    std::map<uint64_t, uint64_t> reads;     // falling edge -> first byte
    uint64_t edge = 0, at = 0;
    int burst = 1, writing = 0;

    uint64_t place(uint64_t bank, uint64_t column) const {
        uint64_t cell = ((uint64_t(rows[bank]) << shape.bank_bits | bank) << shape.column_bits)
                        | column;
        return cell * (shape.pins / 8);
    }

public:
    Sdram(const SdramShape &shape, const Lookup &lookup)
        : shape(shape), command(lookup("command")), ba(lookup("ba")), a(lookup("a")),
          dqm(lookup("dqm")), dq_o(lookup("dq_o")), dq_i(lookup("dq_i")),
          cells(uint64_t(shape.pins / 8)
                << (shape.bank_bits + shape.row_bits + shape.column_bits)),
          rows(1 << shape.bank_bits) {}

    // Where bytes of memory are: the controller's addresses are row, bank, column.
    uint8_t *bytes(uint64_t address) { return cells.data() + address; }
    uint64_t size() const { return cells.size(); }

    // In the middle of a cycle: the chip has the inverted clock.
    void fall() {
        uint64_t bank = ba.get(), address = a.get(), bytes = shape.pins / 8;
        switch (command.get()) {
        case 0b011: rows[bank] = address; break;
        case 0b000: burst = 1 << (address & 7); break;
        case 0b101:
            for (int n = 0; n < burst; n++)
                reads[edge + shape.cas - 1 + n] = place(bank, address + n);
            break;
        case 0b100:
            at = place(bank, address);
            writing = burst;
            break;
        }
        if (writing) {
            uint64_t data = dq_o.get(), mask = dqm.get();
            for (uint64_t n = 0; n < bytes; n++)
                if (!(mask >> n & 1)) cells[at + n] = data >> 8 * n;
            at += bytes;
            writing--;
        }
        uint64_t data = 0x5A5A5A5A & ((uint64_t(1) << shape.pins) - 1);
        auto found = reads.find(edge);
        if (found != reads.end()) {
            data = 0;
            for (uint64_t n = 0; n < bytes; n++) data |= uint64_t(cells[found->second + n]) << 8 * n;
            reads.erase(found);
        }
        dq_i.set(data);
        edge++;
    }
};

struct Soc {
    VerilatedContext context;
    Vsoc top{&context};
    Sender sender;
    Receiver receiver;
    std::unique_ptr<Sdram> sdram;
    int64_t period;
    uint64_t cycle = 0;

    Soc(int64_t period, const SdramShape &shape) : period(period) {
        if (shape.pins)
            sdram = std::make_unique<Sdram>(shape, [this](const std::string &name) {
                for (auto &entry : ports(top))
                    if (name == entry.name) return Port{entry.p, entry.size};
                return Port();
            });
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
        if (sdram) sdram->fall();
        top.clk = 1;
        top.eval();
        top.rx = sender.level(period);
        cycle++;
    }
};

extern "C" {

// Without an SDRAM, `pins` is 0.
Soc *soc_new(int64_t period, int pins, int bank_bits, int row_bits, int column_bits, int cas) {
    return new Soc(period, {pins, bank_bits, row_bits, column_bits, cas});
}

void soc_free(Soc *soc) { delete soc; }

uint64_t soc_cycle(Soc *soc) { return soc->cycle; }

// Hand bytes to the line; they take their time.
void soc_send(Soc *soc, const uint8_t *bytes, uint64_t count) {
    soc->sender.bytes.insert(soc->sender.bytes.end(), bytes, bytes + count);
}

void soc_run(Soc *soc, uint64_t cycles) {
    for (uint64_t n = 0; n < cycles; n++) soc->tick();
}

// Put bytes into the SDRAM, or take them out, while nobody uses it; 0 if they do not lie inside.
int soc_write(Soc *soc, uint64_t address, const uint8_t *bytes, uint64_t count) {
    if (!soc->sdram || address + count > soc->sdram->size()) return 0;
    std::copy(bytes, bytes + count, soc->sdram->bytes(address));
    return 1;
}

int soc_read(Soc *soc, uint64_t address, uint8_t *bytes, uint64_t count) {
    if (!soc->sdram || address + count > soc->sdram->size()) return 0;
    std::copy_n(soc->sdram->bytes(address), count, bytes);
    return 1;
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
