// The host's side of the registers: one access at a time, on AXI4-Lite.

#pragma once

#include "port.h"

class RegisterMaster {
    Bus bus;
    Random random;

    // Whether the host waits in this cycle, out of caprice.
    bool waits(int of_256) { return random.chance(of_256); }

public:
    void seed(uint64_t seed) { random = Random(seed * 64 + 63); }

    // Cycles after which an access has failed.
    static const int PATIENCE = 2000;
    int patience = PATIENCE;

    RegisterMaster(const Lookup &port, const std::string &prefix, uint64_t seed)
        : bus(port, prefix, false), random(seed * 64 + 63) {}

    // `settle` brings the outputs up to date, `tick` lets a cycle pass. The result is the response,
    // or -1 for none; `of_256` is the chance that the host rests in a cycle.
    template <class Settle, class Tick>
    int write(uint32_t address, uint32_t value, int of_256, Settle settle, Tick tick) {
        bool aw = false, w = false;     // accepted
        int response = -1;
        for (int n = 0; n < patience && response < 0; n++) {
            if (!aw && !bus.awvalid.get() && !waits(of_256)) {
                bus.awaddr.set(address);
                bus.awvalid.set(1);
            }
            if (!w && !bus.wvalid.get() && !waits(of_256)) {
                bus.wdata.set(value);
                bus.wstrb.set(15);
                bus.wvalid.set(1);
            }
            bus.bready.set(!waits(of_256));
            settle();
            bool took_aw = bus.awvalid.get() && bus.awready.get();
            bool took_w = bus.wvalid.get() && bus.wready.get();
            if (bus.bvalid.get() && bus.bready.get()) response = int(bus.bresp.get());
            tick();
            if (took_aw) { bus.awvalid.set(0); aw = true; }
            if (took_w) { bus.wvalid.set(0); w = true; }
        }
        bus.bready.set(0);
        return response;
    }

    template <class Settle, class Tick>
    int read(uint32_t address, uint32_t *value, int of_256, Settle settle, Tick tick) {
        bool ar = false;
        int response = -1;
        for (int n = 0; n < patience && response < 0; n++) {
            if (!ar && !bus.arvalid.get() && !waits(of_256)) {
                bus.araddr.set(address);
                bus.arvalid.set(1);
            }
            bus.rready.set(!waits(of_256));
            settle();
            bool took = bus.arvalid.get() && bus.arready.get();
            if (bus.rvalid.get() && bus.rready.get()) {
                response = int(bus.rresp.get());
                *value = uint32_t(bus.rdata.get());
            }
            tick();
            if (took) { bus.arvalid.set(0); ar = true; }
        }
        bus.rready.set(0);
        return response;
    }
};
