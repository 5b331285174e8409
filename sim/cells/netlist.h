// Runs a netlist of ECP5 cells, cycle by cycle. sim/netlist_tables.py writes down which cells there
// are, and in which order they settle; this file knows what a cell does. Multipliers are as the
// sysDSP Usage Guide, FPGA-TN-02205, describes them.

#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "block_ram.h"

class Netlist {
    using Word = uint32_t;

    // Cells without a clock: numbers of the values that they take and give.
    struct Lut { Word in[4], out, init; };
    struct Carry { Word cin, in[2][4], out[2], cout, init[2], inject[2]; };
    struct Lookup { Word memory, address[4], out[4]; };
    struct Factors { Word a[18], b[18], signed_a, signed_b; };
    struct Product { Factors from; Word out[36]; };
    // So many cells of one kind, in the order of their tables.
    struct Run { Word kind, count; };
    enum Kind { LUT, CARRY, LOOKUP, PRODUCT };
    struct Program {
        std::vector<Run> runs;
        std::vector<Lut> luts;
        std::vector<Carry> carries;
        std::vector<Lookup> lookups;
        std::vector<Product> products;
    };

    // Flip-flops with the same enable and reset, and values that follow each other.
    struct FlipFlops { Word enable, enable_inverted, reset, reset_inverted, set, first, count; };
    struct Small { Word enable, address[4], data[4], init[2]; };
    struct Multiplier { Factors from; Word enable, reset, first; };
    struct Port { BlockRam::Side side; Word select, enable, late_enable, write, reset, chip[3],
                  address[14], data[18], first; };
    struct Ram { Port ports[2]; Word init[1024]; };

    struct MultiplierState { int64_t a = 0, b = 0, p = 0; };
    struct Bits { bool output; std::vector<Word> places; };

    const Word *cursor;
    std::vector<uint8_t> values;    // 0 and 1 come first
    std::vector<Bits> bits;         // of the ports
    Program all, visible;           // visible: what the outputs depend on
    std::vector<FlipFlops> flip_flops;
    std::vector<Word> inputs_of_flip_flops;
    std::vector<Small> smalls;
    std::vector<Multiplier> multipliers;
    std::vector<Ram> rams;
    std::vector<uint8_t> small_states, next;
    std::vector<MultiplierState> multiplier_states;
    std::vector<BlockRam> ram_states;
    bool clock_was = false, stale = true;

    Word take() { return *cursor++; }

    template <class T> std::vector<T> table() {
        Word count = take();
        const T *first = reinterpret_cast<const T *>(cursor);
        cursor += count * sizeof(T) / sizeof(Word);
        return std::vector<T>(first, first + count);
    }

    void load(Program &program) {
        program.runs = table<Run>();
        program.luts = table<Lut>();
        program.carries = table<Carry>();
        program.lookups = table<Lookup>();
        program.products = table<Product>();
    }

    uint64_t number(const Word *places, int bits) const {
        uint64_t value = 0;
        for (int n = 0; n < bits; n++) value |= uint64_t(values[places[n]]) << n;
        return value;
    }

    void give(const Word *places, int bits, uint64_t value) {
        for (int n = 0; n < bits; n++) values[places[n]] = value >> n & 1;
    }

    void give(Word first, int bits, uint64_t value) {
        for (int n = 0; n < bits; n++) values[first + n] = value >> n & 1;
    }

    Word look(const Word *in, Word init) const {
        return init >> (values[in[0]] | values[in[1]] << 1 | values[in[2]] << 2
                        | values[in[3]] << 3) & 1;
    }

    int64_t factor(const Word *places, Word is_signed) const {
        int64_t value = number(places, 18);
        return values[is_signed] && value >> 17 ? value - (1 << 18) : value;
    }

    void settle(const Lut &cell) { values[cell.out] = look(cell.in, cell.init); }

    void settle(const Carry &cell) {
        Word carry = values[cell.cin];
        for (int n = 0; n < 2; n++) {
            Word whole = look(cell.in[n], cell.init[n]);
            Word pair = values[cell.in[n][0]] | values[cell.in[n][1]] << 1;
            Word generated = cell.init[n] >> pair & 1;
            values[cell.out[n]] = whole ^ (carry & !cell.inject[n]);
            carry = whole ? carry : generated & !cell.inject[n];
        }
        values[cell.cout] = carry;
    }

    void settle(const Lookup &cell) {
        give(cell.out, 4, small_states[16 * cell.memory + number(cell.address, 4)]);
    }

    void settle(const Product &cell) {
        give(cell.out, 36, factor(cell.from.a, cell.from.signed_a)
                           * factor(cell.from.b, cell.from.signed_b));
    }

    template <class T> void settle(const T *&cell, Word count) {
        for (const T *end = cell + count; cell < end; cell++) settle(*cell);
    }

    void run(const Program &program) {
        const Lut *lut = program.luts.data();
        const Carry *carry = program.carries.data();
        const Lookup *lookup = program.lookups.data();
        const Product *product = program.products.data();
        for (const Run &one : program.runs)
            switch (one.kind) {
            case LUT: settle(lut, one.count); break;
            case CARRY: settle(carry, one.count); break;
            case LOOKUP: settle(lookup, one.count); break;
            default: settle(product, one.count);
            }
    }

    void clock(const Ram &ram, BlockRam &state) {
        BlockRam::Side sides[2];
        BlockRam::Inputs inputs[2];
        for (int n = 0; n < 2; n++) {
            const Port &port = ram.ports[n];
            sides[n] = port.side;
            bool active = values[port.enable] && number(port.chip, 3) == port.select;
            inputs[n] = {Word(number(port.address, 14)), number(port.data, 18), active,
                         bool(values[port.write]), bool(values[port.reset]),
                         bool(values[port.late_enable])};
        }
        // 36 bits are written by the first port and read by the second, with the pins of both.
        if (sides[0].width == 36) inputs[0].data |= inputs[1].data << 18;
        state.clock(sides, inputs);
    }

    void show(const Ram &ram, const BlockRam &state) {
        uint64_t shown[2];
        for (int n = 0; n < 2; n++) shown[n] = state.shown(ram.ports[n].side, n);
        if (ram.ports[1].side.width == 36) { shown[0] = shown[1]; shown[1] >>= 18; }
        for (int n = 0; n < 2; n++) give(ram.ports[n].first, 18, shown[n]);
    }

    void clock(const Multiplier &cell, MultiplierState &state) {
        if (values[cell.reset]) state = {};
        else if (values[cell.enable])
            state = {factor(cell.from.a, cell.from.signed_a),
                     factor(cell.from.b, cell.from.signed_b), state.a * state.b};
    }

    // All cells look at what was there before the edge, then all show what they hold.
    void edge() {
        const Word *input = inputs_of_flip_flops.data();
        uint8_t *held = next.data();
        for (const FlipFlops &some : flip_flops) {
            bool reset = values[some.reset] ^ some.reset_inverted;
            bool enable = values[some.enable] ^ some.enable_inverted;
            if (reset) memset(held, some.set, some.count);
            else if (!enable) memcpy(held, &values[some.first], some.count);
            else for (Word n = 0; n < some.count; n++) held[n] = values[input[n]];
            input += some.count;
            held += some.count;
        }
        for (size_t n = 0; n < rams.size(); n++) clock(rams[n], ram_states[n]);
        for (size_t n = 0; n < multipliers.size(); n++) clock(multipliers[n], multiplier_states[n]);
        for (size_t n = 0; n < smalls.size(); n++)
            if (values[smalls[n].enable])
                small_states[16 * n + number(smalls[n].address, 4)] = number(smalls[n].data, 4);

        // Their values follow each other.
        if (!flip_flops.empty()) memcpy(&values[flip_flops[0].first], next.data(), next.size());
        for (size_t n = 0; n < rams.size(); n++) show(rams[n], ram_states[n]);
        for (size_t n = 0; n < multipliers.size(); n++)
            give(multipliers[n].first, 36, multiplier_states[n].p);
    }

    bool take_inputs() {
        bool changed = false;
        for (size_t n = 0; n < ports.size(); n++)
            if (!bits[n].output && ports[n].name != "clk")
                for (size_t at = 0; at < bits[n].places.size(); at++) {
                    uint8_t bit = ports[n].bytes[at / 8] >> at % 8 & 1;
                    changed |= values[bits[n].places[at]] != bit;
                    values[bits[n].places[at]] = bit;
                }
        return changed;
    }

    void give_outputs() {
        for (size_t n = 0; n < ports.size(); n++)
            if (bits[n].output) {
                memset(ports[n].bytes, 0, ports[n].size);
                for (size_t at = 0; at < bits[n].places.size(); at++)
                    ports[n].bytes[at / 8] |= values[bits[n].places[at]] << at % 8;
            }
    }

public:
    // Bytes of a port, as many as Verilator takes.
    struct Wires { std::string name; uint8_t *bytes; size_t size; };
    std::vector<Wires> ports;

    explicit Netlist(const Word *data) : cursor(data) {
        values.resize(take());
        values[1] = 1;
        for (Word count = take(); count > 0; count--) {
            std::vector<Word> letters = table<Word>();
            bool output = take();
            bits.push_back({output, table<Word>()});
            size_t width = bits.back().places.size();
            size_t size = width <= 8 ? 1 : width <= 16 ? 2 : (width + 31) / 32 * 4;
            storage.emplace_back(size);
            ports.push_back({{letters.begin(), letters.end()}, storage.back().data(), size});
            if (ports.back().name == "clk") clk = ports.back().bytes;
        }
        load(all);
        load(visible);
        flip_flops = table<FlipFlops>();
        inputs_of_flip_flops = table<Word>();
        smalls = table<Small>();
        multipliers = table<Multiplier>();
        rams = table<Ram>();

        next.resize(inputs_of_flip_flops.size());
        multiplier_states.resize(multipliers.size());
        for (const FlipFlops &some : flip_flops)
            memset(&values[some.first], some.set, some.count);
        for (const Small &one : smalls)
            for (int n = 0; n < 16; n++) small_states.push_back(one.init[n / 8] >> n % 8 * 4 & 15);
        for (const Ram &one : rams) ram_states.emplace_back(one.init);
    }
    Netlist(const Netlist &) = delete;

    // As Verilator's: outputs are up to date behind it, and a clock that has risen has its effect.
    void eval() {
        stale |= take_inputs();
        bool rises = *clk & !clock_was;
        clock_was = *clk;
        if (stale) run(all);
        if (rises) {
            edge();
            run(visible);
        }
        if (stale || rises) give_outputs();
        stale = rises;
    }
    void final() {}

private:
    std::vector<std::vector<uint8_t>> storage;
    const uint8_t *clk = nullptr;
};
