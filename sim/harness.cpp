// The Verilated machine with its memory, behind a C interface.
//
// One call runs many cycles: Python decides what to run, this file decides nothing.
// ports.h is generated beside the model; it lists every port by name.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <vector>

#include "ports.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_fst_c.h"
#endif

namespace {

struct Port {
    void *p = nullptr;
    size_t size = 0;

    uint64_t get() const {
        uint64_t value = 0;
        memcpy(&value, p, size < 8 ? size : 8);
        return value;
    }
    void set(uint64_t value) const { memcpy(p, &value, size < 8 ? size : 8); }
};

// What the memory does, for all channels; times in cycles.
struct Timing {
    int latency = 60;          // from address to first data, and from data to write response
    int refresh_every = 0;     // 0: never
    int refresh_for = 0;       // no transfer in this many cycles
    int stall_per_256 = 0;     // chance of 1/256 that a cycle transfers nothing
    int rate_num = 1;          // transfers a cycle: rate_num / rate_den
    int rate_den = 1;
};

// Marks a write response that reports an error.
const uint64_t BAD = 1ull << 63;

struct Read {
    uint64_t address;
    int words;
    uint64_t due;
};

struct Channel {
    Port arvalid, arready, araddr, arlen, rvalid, rready, rdata, rresp, rlast;
    Port awvalid, awready, awaddr, awlen, wvalid, wready, wdata, wstrb, wlast;
    Port bvalid, bready, bresp;
    std::deque<Read> reads;
    std::deque<uint64_t> write_addresses;
    std::deque<uint64_t> responses;     // cycle from which each may be sent
    int number = 0;
    int write_beat = 0;
    int credit = 0;                     // of the transfer rate
    bool taken = false, wrote = false, answered = false;    // in the last cycle
    uint64_t random = 0;
};

}  // namespace

struct Machine {
    VerilatedContext context;
    Vtokamac top{&context};
#if VM_TRACE
    VerilatedFstC *trace = nullptr;
#endif
    std::vector<Channel> channels;
    Port clk, rst, irq;
    Port awaddr, awvalid, awready, wdata, wstrb, wvalid, wready, bresp, bvalid, bready;
    Port araddr, arvalid, arready, rdata, rresp, rvalid, rready;
    uint8_t *memory = nullptr;
    uint64_t size = 0;
    size_t bytes;                       // of a channel's word
    Timing timing;
    uint64_t cycle = 0;
    uint64_t error_address = ~0ull;     // transfers here are answered with SLVERR
    std::string problem;

    Port port(const std::string &name) {
        for (auto &entry : ports(top))
            if (name == entry.name) return {entry.p, entry.size};
        throw std::runtime_error("the model has no port " + name);
    }

    Machine(int count, uint64_t memory_bytes, uint64_t seed) : channels(count), size(memory_bytes) {
        // Pages come into being when they are touched.
        void *mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED) throw std::runtime_error("no room for the simulated memory");
        memory = static_cast<uint8_t *>(mapped);
        clk = port("clk"); rst = port("rst"); irq = port("irq");
#define LITE(name) name = port("s_axil_" #name);
        LITE(awaddr) LITE(awvalid) LITE(awready) LITE(wdata) LITE(wstrb) LITE(wvalid) LITE(wready)
        LITE(bresp) LITE(bvalid) LITE(bready) LITE(araddr) LITE(arvalid) LITE(arready) LITE(rdata)
        LITE(rresp) LITE(rvalid) LITE(rready)
        for (int n = 0; n < count; n++) {
            Channel &c = channels[n];
            std::string prefix = "m_axi" + std::to_string(n) + "_";
#define FULL(name) c.name = port(prefix + #name);
            FULL(arvalid) FULL(arready) FULL(araddr) FULL(arlen) FULL(rvalid) FULL(rready)
            FULL(rdata) FULL(rresp) FULL(rlast) FULL(awvalid) FULL(awready) FULL(awaddr)
            FULL(awlen) FULL(wvalid) FULL(wready) FULL(wdata) FULL(wstrb) FULL(wlast)
            FULL(bvalid) FULL(bready) FULL(bresp)
            c.number = n;
            c.random = seed * 2654435761u + n + 1;
        }
        bytes = channels[0].rdata.size;
#if VM_TRACE
        context.traceEverOn(true);
#endif
        rst.set(1);
        for (int n = 0; n < 4; n++) tick();
        rst.set(0);
    }

    ~Machine() {
        close_trace();
        top.final();
        munmap(memory, size);
    }

    bool chance(Channel &c, int of_256) {
        c.random ^= c.random << 13; c.random ^= c.random >> 7; c.random ^= c.random << 17;
        return int(c.random >> 20 & 255) < of_256;
    }

    // Byte in memory of a channel's address: words are dealt to the channels in turn.
    uint64_t place(const Channel &c, uint64_t address) const {
        return address / bytes * bytes * channels.size() + c.number * bytes + address % bytes;
    }

    // Inputs of the next cycle, from what happened in the last.
    void drive(Channel &c) {
        const Timing &t = timing;
        c.credit = std::min(c.credit + t.rate_num, t.rate_den);
        bool refresh = t.refresh_every && int(cycle % t.refresh_every) < t.refresh_for;
        bool may = !refresh && c.credit >= t.rate_den
            && !(t.stall_per_256 && chance(c, t.stall_per_256));
        c.arready.set(c.reads.size() < 64);
        c.awready.set(c.write_addresses.size() < 16);
        // A write that waits takes the data bus for one transfer.
        bool write = may && c.wvalid.get() && !c.write_addresses.empty() && !c.wrote;
        c.wready.set(write);
        // Once valid, read data stay until they are taken.
        if (!c.rvalid.get() || c.taken) {
            bool valid = may && !write && !c.reads.empty() && c.reads.front().due <= cycle;
            c.rvalid.set(valid);
            if (valid) present(c);
        }
        if (!c.bvalid.get() || c.answered) {
            bool valid = !c.responses.empty() && (c.responses.front() & ~BAD) <= cycle;
            c.bvalid.set(valid);
            if (valid) c.bresp.set(c.responses.front() & BAD ? 2 : 0);
        }
    }

    void present(Channel &c) {
        const Read &read = c.reads.front();
        uint64_t at = place(c, read.address);
        bool bad = at + bytes > size || at == error_address;
        if (bad) memset(c.rdata.p, 0, bytes);
        else memcpy(c.rdata.p, memory + at, bytes);
        c.rresp.set(bad ? 2 : 0);
        c.rlast.set(read.words == 1);
    }

    // Transfers of this cycle, once all outputs have settled.
    void sample(Channel &c) {
        if (c.arvalid.get() && c.arready.get()) {
            uint64_t address = c.araddr.get();
            int words = int(c.arlen.get()) + 1;
            if (address / 4096 != (address + words * bytes - 1) / 4096)
                problem = "a read burst crosses 4 KiB";
            c.reads.push_back({address, words, cycle + timing.latency});
        }
        c.taken = c.rvalid.get() && c.rready.get();
        if (c.taken) {
            Read &read = c.reads.front();
            read.address += bytes;
            if (--read.words == 0) c.reads.pop_front();
            c.credit -= timing.rate_den;
        }
        c.wrote = c.wvalid.get() && c.wready.get();
        if (c.wrote) {
            uint64_t at = place(c, c.write_addresses.front() + c.write_beat++ * bytes);
            bool bad = at + bytes > size || at == error_address;
            const uint8_t *data = static_cast<uint8_t *>(c.wdata.p);
            const uint8_t *strobe = static_cast<uint8_t *>(c.wstrb.p);
            for (size_t b = 0; b < bytes && !bad; b++)
                if (strobe[b / 8] >> (b % 8) & 1) memory[at + b] = data[b];
            c.credit -= timing.rate_den;
            if (c.wlast.get()) {
                c.write_addresses.pop_front();
                c.write_beat = 0;
                c.responses.push_back((cycle + timing.latency) | (bad ? BAD : 0));
            }
        }
        if (c.awvalid.get() && c.awready.get()) c.write_addresses.push_back(c.awaddr.get());
        c.answered = c.bvalid.get() && c.bready.get();
        if (c.answered) c.responses.pop_front();
    }

    // One cycle: outputs settle, transfers are noted, the clock rises, new inputs are set.
    void tick() {
        clk.set(0);
        top.eval();
        dump(0);
        for (auto &c : channels) sample(c);
        clk.set(1);
        top.eval();
        dump(1);
        cycle++;
        for (auto &c : channels) drive(c);
    }

    void dump(int phase) {
#if VM_TRACE
        if (trace) trace->dump(2 * cycle + phase);
#else
        (void)phase;
#endif
    }

    bool open_trace(const char *path) {
#if VM_TRACE
        close_trace();
        trace = new VerilatedFstC;
        top.trace(trace, 99);
        trace->open(path);
        return true;
#else
        (void)path;
        return false;
#endif
    }

    void close_trace() {
#if VM_TRACE
        if (trace) { trace->close(); delete trace; trace = nullptr; }
#endif
    }
};

extern "C" {

Machine *machine_new(int channels, uint64_t memory_bytes, uint64_t seed, char *error, int room) {
    try {
        return new Machine(channels, memory_bytes, seed);
    } catch (const std::exception &e) {
        strncpy(error, e.what(), room - 1);
        return nullptr;
    }
}

void machine_free(Machine *m) { delete m; }

uint8_t *machine_memory(Machine *m) { return m->memory; }

uint64_t machine_cycle(Machine *m) { return m->cycle; }

const char *machine_problem(Machine *m) { return m->problem.c_str(); }

void machine_timing(Machine *m, int latency, int refresh_every, int refresh_for,
                    int stall_per_256, int rate_num, int rate_den) {
    m->timing = {latency, refresh_every, refresh_for, stall_per_256, rate_num, rate_den};
}

void machine_error_at(Machine *m, uint64_t address) { m->error_address = address; }

int machine_trace(Machine *m, const char *path) {
    if (path) return m->open_trace(path);
    m->close_trace();
    return 1;
}

// Up to `cycles` cycles, fewer if the interrupt rises. Returns whether it is high.
int machine_run(Machine *m, uint64_t cycles) {
    for (uint64_t n = 0; n < cycles && !m->irq.get(); n++) m->tick();
    return m->irq.get();
}

// Cycles with the interrupt ignored.
void machine_step(Machine *m, uint64_t cycles) {
    for (uint64_t n = 0; n < cycles; n++) m->tick();
}

// Register accesses; they take a few cycles. The result is the AXI response, or -1 for none.
int machine_write(Machine *m, uint32_t address, uint32_t value) {
    m->awaddr.set(address);
    m->wdata.set(value);
    m->wstrb.set(15);
    m->awvalid.set(1);
    m->wvalid.set(1);
    m->bready.set(1);
    int response = -1;
    for (int n = 0; n < 100 && response < 0; n++) {
        m->clk.set(0);
        m->top.eval();
        bool aw = m->awvalid.get() && m->awready.get(), w = m->wvalid.get() && m->wready.get();
        if (m->bvalid.get()) response = int(m->bresp.get());
        m->tick();
        if (aw) m->awvalid.set(0);
        if (w) m->wvalid.set(0);
    }
    m->bready.set(0);
    return response;
}

int machine_read(Machine *m, uint32_t address, uint32_t *value) {
    m->araddr.set(address);
    m->arvalid.set(1);
    m->rready.set(1);
    int response = -1;
    for (int n = 0; n < 100 && response < 0; n++) {
        m->clk.set(0);
        m->top.eval();
        bool ar = m->arvalid.get() && m->arready.get();
        if (m->rvalid.get()) {
            response = int(m->rresp.get());
            *value = uint32_t(m->rdata.get());
        }
        m->tick();
        if (ar) m->arvalid.set(0);
    }
    m->rready.set(0);
    return response;
}

}  // extern "C"
