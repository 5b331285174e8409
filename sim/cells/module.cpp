// The netlist of any module, behind a C interface; sim/netlist.py uses it.

#include "netlist.h"

extern "C" {

// The tables are read at once, and not needed afterwards.
Netlist *module_new(const char *tables) {
    return new Netlist(reinterpret_cast<const uint32_t *>(tables));
}

void module_free(Netlist *m) { delete m; }

void *module_port(Netlist *m, const char *name, uint64_t *size) {
    for (auto &one : m->ports)
        if (one.name == name) {
            *size = one.size;
            return one.bytes;
        }
    return nullptr;
}

void module_eval(Netlist *m) { m->eval(); }

}  // extern "C"
