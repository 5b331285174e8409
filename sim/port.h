// Wires of the model, found by name, and random numbers. Everything else in this folder uses them.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

// One port: its bytes in the model. Verilator keeps up to 64 bits in 1, 2, 4 or 8 bytes.
struct Port {
    void *p = nullptr;
    size_t size = 0;

    uint64_t get() const {
        switch (size) {
        case 1: return *static_cast<const uint8_t *>(p);
        case 2: return *static_cast<const uint16_t *>(p);
        case 4: return *static_cast<const uint32_t *>(p);
        default: {
            uint64_t value;
            memcpy(&value, p, 8);
            return value;
        }
        }
    }
    void set(uint64_t value) const { memcpy(p, &value, size < 8 ? size : 8); }
};

using Lookup = std::function<Port(const std::string &)>;

// One AXI4 channel, or an AXI4-Lite bus: what they have in common, and what only the first has.
struct Bus {
    Port arvalid, arready, araddr, rvalid, rready, rdata, rresp;
    Port awvalid, awready, awaddr, wvalid, wready, wdata, wstrb, bvalid, bready, bresp;
    Port arid, arlen, arsize, arburst, arlock, arcache, arprot, arqos, rid, rlast;
    Port awid, awlen, awsize, awburst, awlock, awcache, awprot, awqos, wlast, bid;

    Bus(const Lookup &port, const std::string &prefix, bool full) {
#define FIND(name) name = port(prefix + #name);
        FIND(arvalid) FIND(arready) FIND(araddr) FIND(rvalid) FIND(rready) FIND(rdata) FIND(rresp)
        FIND(awvalid) FIND(awready) FIND(awaddr) FIND(wvalid) FIND(wready) FIND(wdata) FIND(wstrb)
        FIND(bvalid) FIND(bready) FIND(bresp)
        if (!full) return;
        FIND(arid) FIND(arlen) FIND(arsize) FIND(arburst) FIND(arlock) FIND(arcache) FIND(arprot)
        FIND(arqos) FIND(rid) FIND(rlast)
        FIND(awid) FIND(awlen) FIND(awsize) FIND(awburst) FIND(awlock) FIND(awcache) FIND(awprot)
        FIND(awqos) FIND(wlast) FIND(bid)
#undef FIND
    }
};

// Xorshift: the same numbers on every machine.
struct Random {
    uint64_t state;

    explicit Random(uint64_t seed) : state(seed * 2654435761u + 1) {
        for (int n = 0; n < 8; n++) next();     // small seeds differ in few bits
    }

    uint32_t next() {
        state ^= state << 13; state ^= state >> 7; state ^= state << 17;
        return uint32_t(state >> 20);
    }
    bool chance(int of_256) { return of_256 && int(next() & 255) < of_256; }
    bool rarely(int of_65536) { return of_65536 && int(next() & 65535) < of_65536; }
    int below(int limit) { return int(next() % uint32_t(limit)); }
    // Whole numbers from 0 on, each as likely as the one before times a constant.
    int geometric(int mean) {
        double u = (next() % 65536 + 0.5) / 65536;
        return int(-std::log(u) * mean);
    }
};

// What both response channels may say.
enum Response { OKAY = 0, EXOKAY = 1, SLVERR = 2, DECERR = 3 };
