// The Verilated machine with its memory, behind a C interface.
//
// One call runs many cycles: Python decides what to run, this file decides nothing. ports.h and
// arrays.h are generated beside the model; they list every port, and every memory on the die, by
// name. The parts: port.h (wires), memory.h, registers.h (the host), monitor.h (the rules of AXI).

#include <memory>

#include "arrays.h"
#include "memory.h"
#include "monitor.h"
#include "ports.h"
#include "registers.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_fst_c.h"
#endif

struct Machine {
    VerilatedContext context;
    Vtokamac top{&context};
#if VM_TRACE
    VerilatedFstC *trace = nullptr;
#endif
    Lookup lookup;
    Memory memory;
    std::vector<MemoryChannel> channels;
    RegisterMaster registers;
    Promise promise;
    Verdict verdict;
    std::vector<ArrayEntry> on_die;
    std::vector<ChannelMonitor> monitors;
    std::unique_ptr<LiteMonitor> lite;
    Port clk, rst, irq;
    uint64_t cycle = 0;

    Port port(const std::string &name) {
        for (auto &entry : ports(top))
            if (name == entry.name) return {entry.p, entry.size};
        throw std::runtime_error("the model has no port " + name);
    }

    Machine(int count, uint64_t memory_bytes, uint64_t seed)
        : lookup([this](const std::string &name) { return port(name); }),
          memory(memory_bytes, count), registers(lookup, "s_axil_", seed), on_die(arrays(top)) {
        clk = port("clk"); rst = port("rst"); irq = port("irq");
        promise.channels = count;
        for (int n = 0; n < count; n++) {
            std::string prefix = "m_axi" + std::to_string(n) + "_";
            channels.emplace_back(lookup, prefix, memory, n, seed);
            monitors.emplace_back(lookup, prefix, n, verdict, promise);
        }
        lite = std::make_unique<LiteMonitor>(lookup, "s_axil_", verdict, promise);
#if VM_TRACE
        context.traceEverOn(true);
#endif
        reset();
    }

    // Of the whole system: machine, memory's channels and host.
    void reset() {
        rst.set(1);
        for (int n = 0; n < 4; n++) {
            tick();
            for (auto &one : channels) one.reset();
        }
        rst.set(0);
    }

    ~Machine() {
        close_trace();
        top.final();
    }

    void settle() {
        clk.set(0);
        top.eval();
    }

    // One cycle: outputs settle, transfers are noted, the clock rises, new inputs are set.
    void tick() {
        settle();
        dump(0);
        bool reset = rst.get(), ended = irq.get();
        for (auto &one : monitors) one.sample(cycle, reset, ended);
        lite->sample(cycle, reset);
        for (auto &one : channels) one.sample(cycle);
        clk.set(1);
        top.eval();
        dump(1);
        cycle++;
        memory.flip(cycle);
        for (auto &one : channels) one.drive(cycle);
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

uint8_t *machine_memory(Machine *m) { return m->memory.bytes; }

// A memory on the die, by its number: first byte, name, words, bytes and bits of a word. Null behind
// the last one. What is written there is read from the next cycle on.
void *machine_array(Machine *m, uint64_t number, const char **name, uint64_t shape[3]) {
    if (number >= m->on_die.size()) return nullptr;
    const ArrayEntry &one = m->on_die[number];
    *name = one.name;
    shape[0] = one.depth; shape[1] = one.size; shape[2] = one.width;
    return one.p;
}

uint64_t machine_cycle(Machine *m) { return m->cycle; }

const char *machine_problem(Machine *m) { return m->verdict.problem.c_str(); }

// Whether there is a parameter of this name.
int machine_timing(Machine *m, const char *name, int value) {
    return m->memory.timing.set(name, value);
}

void machine_seed(Machine *m, uint64_t seed) {
    for (auto &one : m->channels) one.seed(seed);
    m->registers.seed(seed);
}

void machine_promise(Machine *m, int burst, int reads, int writes, int clearing) {
    m->promise.burst = burst;
    m->promise.reads = reads;
    m->promise.writes = writes;
    m->promise.clearing = clearing;
    m->registers.patience = RegisterMaster::PATIENCE + clearing;
}

void machine_window(Machine *m, int write, int limit, uint64_t page) {
    Promise &p = m->promise;
    (write ? (limit ? p.write_limit : p.write_base) : (limit ? p.read_limit : p.read_base)) = page;
}

// The bus must be at rest now; else a rule is broken.
void machine_rests(Machine *m) {
    for (auto &one : m->monitors)
        if (!one.at_rest())
            m->verdict.report("rest", "all channels", m->cycle,
                              "something is in flight behind the end of a run");
}

void machine_reset(Machine *m) { m->reset(); }

void machine_fail(Machine *m, uint64_t address, int response, int reads, int writes) {
    m->memory.faults.push_back({address, response, bool(reads), bool(writes)});
}

void machine_mend(Machine *m) {
    m->memory.faults.clear();
    m->memory.flips.clear();
}

void machine_flip(Machine *m, uint64_t cycle, uint64_t address, int bit) {
    m->memory.add({cycle, address, bit});
}

void machine_hang(Machine *m, int handshakes) { m->memory.hung = handshakes; }

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
    return m->registers.write(address, value, m->memory.timing.host_per_256,
                              [m] { m->settle(); }, [m] { m->tick(); });
}

int machine_read(Machine *m, uint32_t address, uint32_t *value) {
    return m->registers.read(address, value, m->memory.timing.host_per_256,
                             [m] { m->settle(); }, [m] { m->tick(); });
}

}  // extern "C"
