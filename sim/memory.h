// Memory behind the AXI4 channels: what it holds, and how kindly it answers.

#pragma once

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <sys/mman.h>
#include <vector>

#include "port.h"

// What the memory does, for each channel; see docs/simulator.md. Times are in cycles, chances
// in 256ths of a cycle, those of errors in 65536ths of a word.
#define TIMING_FIELDS(X) \
    X(latency, 60) X(latency_spread, 0) X(latency_tail, 0) \
    X(banks, 0) X(row_bytes, 2048) X(row_miss, 0) \
    X(refresh_every, 0) X(refresh_for, 0) \
    X(rate_num, 1) X(rate_den, 1) X(stall_per_256, 0) \
    X(ar_per_256, 0) X(aw_per_256, 0) X(w_per_256, 0) X(r_per_256, 0) X(b_per_256, 0) \
    X(data_first, 0) X(host_per_256, 0) \
    X(read_errors, 0) X(write_errors, 0)

struct Timing {
#define FIELD(name, value) int name = value;
    TIMING_FIELDS(FIELD)
#undef FIELD

    bool set(const std::string &which, int value) {
#define FIELD(name, _) if (which == #name) { name = value; return true; }
        TIMING_FIELDS(FIELD)
#undef FIELD
        return false;
    }
};

// Accesses of one word that fail.
struct Fault {
    uint64_t address;
    int response;
    bool reads, writes;
};

// A bit that changes by itself.
struct Flip {
    uint64_t cycle, address;
    int bit;
};

// Handshakes that never come, as bits.
enum Hang { HANG_AR = 1, HANG_AW = 2, HANG_W = 4, HANG_R = 8, HANG_B = 16 };

// The bytes, and what all channels share.
struct Memory {
    uint8_t *bytes = nullptr;
    uint64_t size;
    int channels;
    Timing timing;
    std::vector<Fault> faults;
    std::deque<Flip> flips;             // ascending
    int hung = 0;

    Memory(uint64_t size, int channels) : size(size), channels(channels) {
        // Pages come into being when they are touched.
        void *mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED) throw std::runtime_error("no room for the simulated memory");
        bytes = static_cast<uint8_t *>(mapped);
    }
    ~Memory() { munmap(bytes, size); }
    Memory(const Memory &) = delete;

    void add(const Flip &flip) {
        auto later = [](const Flip &a, const Flip &b) { return a.cycle < b.cycle; };
        flips.insert(std::upper_bound(flips.begin(), flips.end(), flip, later), flip);
    }

    void flip(uint64_t cycle) {
        for (; !flips.empty() && flips.front().cycle <= cycle; flips.pop_front())
            if (flips.front().address < size)
                bytes[flips.front().address] ^= uint8_t(1 << flips.front().bit);
    }

    // Response to an access of a channel's word at `at`.
    int response(uint64_t at, size_t word, bool writes, Random &random) const {
        if (at + word > size) return DECERR;
        for (const Fault &fault : faults)
            if (fault.address == at && (writes ? fault.writes : fault.reads)) return fault.response;
        if (random.rarely(writes ? timing.write_errors : timing.read_errors))
            return random.chance(128) ? SLVERR : DECERR;
        return OKAY;
    }
};

// One channel: answers in the order of requests.
class MemoryChannel {
    struct Read {
        uint64_t address;
        int words;
        uint64_t due;
    };
    struct Word {
        std::vector<uint8_t> data, strobe;
        bool last;
    };
    struct Answer {
        uint64_t due;
        int response;
    };
    struct Bank {
        uint64_t row = ~0ull, free = 0;
    };

    Bus bus;
    Memory &memory;
    int number;
    size_t bytes;                       // of a word
    Random random;
    std::deque<Read> reads;
    std::deque<uint64_t> addresses;     // of writes
    std::deque<Word> words;             // that came before their address
    std::deque<Answer> answers;
    std::vector<Bank> banks;
    uint64_t beat = 0;                  // of the write burst
    int bad = OKAY;                     // the worst response of the write burst
    int credit = 0;                     // of the transfer rate
    bool taken = false, wrote = false, answered = false;    // in the last cycle

    // Byte in memory of a channel's address: words are dealt to the channels in turn.
    uint64_t place(uint64_t address) const {
        return address / bytes * bytes * memory.channels + number * bytes + address % bytes;
    }

    // Cycle of the answer to an access now.
    uint64_t due(uint64_t address, uint64_t now) {
        const Timing &t = memory.timing;
        uint64_t when = now + t.latency;
        if (t.latency_spread) when += random.below(t.latency_spread + 1);
        if (t.latency_tail) when += random.geometric(t.latency_tail);
        if (!t.banks || t.row_bytes < 1) return when;
        banks.resize(t.banks);
        uint64_t row = address / t.row_bytes;
        Bank &bank = banks[row % t.banks];
        uint64_t wait = bank.free > now ? bank.free - now : 0;
        if (bank.row != row) wait += t.row_miss;
        bank.row = row;
        bank.free = now + wait;
        return when + wait;
    }

    void present() {
        const Read &read = reads.front();
        uint64_t at = place(read.address);
        int response = memory.response(at, bytes, false, random);
        if (response != OKAY) memset(bus.rdata.p, 0, bytes);
        else memcpy(bus.rdata.p, memory.bytes + at, bytes);
        bus.rresp.set(response);
        bus.rlast.set(read.words == 1);
    }

    void write(const Word &word, uint64_t now) {
        uint64_t address = addresses.front(), at = place(address + beat++ * bytes);
        int response = memory.response(at, bytes, true, random);
        for (size_t b = 0; b < bytes && response == OKAY; b++)
            if (word.strobe[b / 8] >> (b % 8) & 1) memory.bytes[at + b] = word.data[b];
        bad = std::max(bad, response);
        if (!word.last) return;
        answers.push_back({due(address, now), bad});
        addresses.pop_front();
        beat = bad = 0;
    }

public:
    void seed(uint64_t seed) { random = Random(seed * 64 + number); }

    // A reset forgets all requests.
    void reset() {
        reads.clear(); addresses.clear(); words.clear(); answers.clear(); banks.clear();
        beat = bad = credit = 0;
        taken = wrote = answered = false;
        bus.rvalid.set(0);
        bus.bvalid.set(0);
    }

    MemoryChannel(const Lookup &port, const std::string &prefix, Memory &memory, int number,
                  uint64_t seed)
        : bus(port, prefix, true), memory(memory), number(number), bytes(bus.rdata.size),
          random(seed * 64 + number) {}

    // Inputs of the next cycle, from what happened in the last.
    void drive(uint64_t cycle) {
        const Timing &t = memory.timing;
        const int hung = memory.hung;
        credit = std::min(credit + t.rate_num, t.rate_den);
        bool refresh = t.refresh_every && int(cycle % t.refresh_every) < t.refresh_for;
        if (refresh) banks.clear();
        bool may = !refresh && credit >= t.rate_den && !random.chance(t.stall_per_256);
        bus.arready.set(reads.size() < 64 && !random.chance(t.ar_per_256) && !(hung & HANG_AR));
        // A memory may wait for data before it takes their address.
        bool address = t.data_first ? words.size() > addresses.size() : addresses.size() < 16;
        bus.awready.set(address && !random.chance(t.aw_per_256) && !(hung & HANG_AW));
        bool data = t.data_first ? words.size() < 4 : !addresses.empty();
        // A write that waits takes the data bus for one transfer.
        bool write = may && bus.wvalid.get() && data && !wrote && !(hung & HANG_W)
            && !random.chance(t.w_per_256);
        bus.wready.set(write);
        // Once valid, read data stay until they are taken.
        if (!bus.rvalid.get() || taken) {
            bool valid = may && !write && !reads.empty() && reads.front().due <= cycle
                && !(hung & HANG_R) && !random.chance(t.r_per_256);
            bus.rvalid.set(valid);
            if (valid) present();
        }
        if (!bus.bvalid.get() || answered) {
            bool valid = !answers.empty() && answers.front().due <= cycle && !(hung & HANG_B)
                && !random.chance(t.b_per_256);
            bus.bvalid.set(valid);
            if (valid) bus.bresp.set(answers.front().response);
        }
    }

    // Transfers of this cycle, once all outputs have settled.
    void sample(uint64_t cycle) {
        const Timing &t = memory.timing;
        if (bus.arvalid.get() && bus.arready.get()) {
            uint64_t address = bus.araddr.get();
            reads.push_back({address, int(bus.arlen.get()) + 1, due(address, cycle)});
        }
        taken = bus.rvalid.get() && bus.rready.get();
        if (taken) {
            Read &read = reads.front();
            read.address += bytes;
            if (--read.words == 0) reads.pop_front();
            credit -= t.rate_den;
        }
        wrote = bus.wvalid.get() && bus.wready.get();
        if (wrote) {
            auto from = static_cast<uint8_t *>(bus.wdata.p), strobe = static_cast<uint8_t *>(bus.wstrb.p);
            words.push_back({{from, from + bytes}, {strobe, strobe + (bytes + 7) / 8},
                             bool(bus.wlast.get())});
            credit -= t.rate_den;
        }
        // Of a memory that waits for data, the address of this cycle belongs to data that are here.
        bool came = bus.awvalid.get() && bus.awready.get();
        if (came && t.data_first) addresses.push_back(bus.awaddr.get());
        while (!words.empty() && !addresses.empty()) {
            write(words.front(), cycle);
            words.pop_front();
        }
        if (came && !t.data_first) addresses.push_back(bus.awaddr.get());
        answered = bus.bvalid.get() && bus.bready.get();
        if (answered) answers.pop_front();
    }
};
