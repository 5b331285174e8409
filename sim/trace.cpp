// The monitor alone, on wires that a test drives: a trace that breaks a rule must be found.

#include <map>
#include <memory>

#include "monitor.h"

struct Trace {
    std::map<std::string, std::vector<uint8_t>> wires;
    Promise promise;
    Verdict verdict;
    std::unique_ptr<ChannelMonitor> channel;
    std::unique_ptr<LiteMonitor> lite;
    uint64_t cycle = 0;
    std::string names;

    Trace(int bytes, int burst, int outstanding) {
        promise.burst = burst;
        promise.reads = promise.writes = outstanding;
        Lookup port = [&](const std::string &name) -> Port {
            std::string wire = name.substr(name.find('_') + 1);
            bool full = name[0] == 'm';
            size_t size = 8;
            if (full && (wire == "rdata" || wire == "wdata")) size = bytes;
            if (full && wire == "wstrb") size = (bytes + 7) / 8;
            auto &place = wires[name];
            place.resize(size);
            return {place.data(), size};
        };
        channel = std::make_unique<ChannelMonitor>(port, "m_", 0, verdict, promise);
        lite = std::make_unique<LiteMonitor>(port, "s_", verdict, promise);
    }
};

extern "C" {

Trace *trace_new(int bytes, int burst, int outstanding) {
    return new Trace(bytes, burst, outstanding);
}

void trace_free(Trace *t) { delete t; }

void trace_window(Trace *t, uint64_t base, uint64_t limit) {
    t->promise.read_base = t->promise.write_base = base;
    t->promise.read_limit = t->promise.write_limit = limit;
}

// Returns whether there is such a wire.
int trace_set(Trace *t, const char *name, uint64_t value) {
    auto wire = t->wires.find(name);
    if (wire == t->wires.end()) return 0;
    memcpy(wire->second.data(), &value, std::min(wire->second.size(), sizeof value));
    return 1;
}

void trace_cycle(Trace *t, int reset, int ended) {
    t->channel->sample(t->cycle, reset, ended);
    t->lite->sample(t->cycle++, reset);
}

int trace_rests(Trace *t) { return t->channel->at_rest(); }

const char *trace_problem(Trace *t) { return t->verdict.problem.c_str(); }

// Names of the rules that were broken, with spaces between.
const char *trace_rules(Trace *t) {
    t->names.clear();
    for (auto &rule : t->verdict.rules) t->names += rule + " ";
    return t->names.c_str();
}

}  // extern "C"
