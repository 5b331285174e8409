// The ports of a netlist, in place of those of a Verilated model; netlist.bin is made by
// sim/netlist.py.

#pragma once

#include "netlist.h"
#include "verilated.h"

asm(".section .rodata\n.balign 8\nnetlist_bin:\n.incbin \"netlist.bin\"\n.previous");
extern "C" const uint32_t netlist_bin[] __attribute__((visibility("hidden")));

struct Vtokamac : Netlist {
    explicit Vtokamac(VerilatedContext *) : Netlist(netlist_bin) {}
};

struct PortEntry { const char *name; void *p; size_t size; };
inline std::vector<PortEntry> ports(Vtokamac &top) {
    std::vector<PortEntry> found;
    for (auto &one : top.ports) found.push_back({one.name.c_str(), one.bytes, one.size});
    return found;
}
