// Holds the buses of the machine against the rules of AXI; docs/simulator.md lists them.
//
// It sees wires only, so that it also judges the memory and the register master of this folder, and
// traces that a test writes (trace.cpp).

#pragma once

#include <deque>
#include <set>
#include <vector>

#include "port.h"

// Broken rules: the first one as a sentence, all by name.
struct Verdict {
    std::string problem;
    std::set<std::string> rules;

    void report(const std::string &rule, const std::string &bus, uint64_t cycle,
                const std::string &what) {
        if (problem.empty())
            problem = rule + ": " + what + " (" + bus + ", cycle " + std::to_string(cycle) + ")";
        rules.insert(rule);
    }
};

// What the configuration, and the host, promise of the machine.
struct Promise {
    int burst = 256;                    // longest, in words
    int reads = 1 << 30, writes = 1 << 30;      // bursts in flight
    int channels = 1;
    int clearing = 0;                   // cycles behind a reset in which writes of the host wait
    uint64_t read_base = 0, read_limit = ~0ull, write_base = 0, write_limit = ~0ull;    // pages
};

// One of the channels of a bus: a payload that waits stays as it is.
class Handshake {
    std::string name;
    Port valid, ready;
    std::vector<Port> payload;
    std::vector<uint8_t> held;
    bool stalled = false;

    template <class Action> void each(Action act) {
        uint8_t *at = held.data();
        for (const Port &port : payload) {
            act(port, at);
            at += port.size;
        }
    }

public:
    bool offered = false;               // new in this cycle
    bool moved = false;                 // transferred in this cycle
    bool waits = false;                 // valid in this cycle, and not transferred

    Handshake(const std::string &name, Port valid, Port ready, std::vector<Port> payload)
        : name(name), valid(valid), ready(ready), payload(payload) {
        size_t size = 0;
        for (const Port &port : payload) size += port.size;
        held.resize(size);
    }

    void sample(Verdict &verdict, const std::string &bus, uint64_t cycle) {
        bool now = valid.get();
        if (!now && !stalled) {
            offered = moved = waits = false;
            return;
        }
        offered = now && !stalled;
        moved = now && ready.get();
        waits = now && !moved;
        if (stalled) {
            if (!now) verdict.report(name + "_valid", bus, cycle, "VALID fell before READY came");
            else each([&](const Port &port, uint8_t *at) {
                if (memcmp(port.p, at, port.size))
                    verdict.report(name + "_stable", bus, cycle, "a payload changed while it waited");
            });
        }
        if (offered && waits)
            each([](const Port &port, uint8_t *at) { memcpy(at, port.p, port.size); });
        stalled = waits;
    }
    bool low() const { return !valid.get(); }
    void reset() { stalled = offered = moved = waits = false; }
};

// Constants of the machine: normal, bufferable memory, and nothing special (hw/memory/axi.py).
const uint64_t CACHE = 3;

class ChannelMonitor {
    struct Burst {
        uint64_t address;
        int words;
        int size;
    };
    struct Data {
        int words;
        std::vector<uint8_t> strobe;    // of the first word
    };

    std::string name;
    Bus b;
    Verdict &verdict;
    const Promise &promise;
    uint64_t cycle = 0;
    size_t bytes;
    Handshake ar, aw, w, r, wb;
    std::deque<int> reads;              // words that are still to come, of each burst
    std::deque<Burst> addresses;        // of writes, whose data have not all come
    std::deque<Data> data;              // whose address has not come
    Data now{0, {}};                    // the burst of data under way
    uint64_t written = 0;               // bursts whose address and data have come, less answers
    uint64_t writes = 0;                // addresses that were accepted, less answers
    bool resetting = false;

    void report(const std::string &rule, const std::string &what) {
        verdict.report(rule, name, cycle, what);
    }

    void request(const char *kind, const Port &addr, const Port &len, const Port &size,
                 const Port &burst, uint64_t base, uint64_t limit) {
        const std::string k = kind;
        uint64_t address = addr.get();
        int words = int(len.get()) + 1;
        if (burst.get() != 1) report(k + "_burst", "the burst is not INCR");
        if (size_t(1) << size.get() != bytes) report(k + "_size", "a transfer is not of full width");
        if (address % bytes) report(k + "_aligned", "the address is not a multiple of the width");
        if (address / 4096 != (address + words * bytes - 1) / 4096)
            report(k + "_4k", "the burst crosses 4 KiB");
        if (words > promise.burst) report(k + "_len", "the burst is longer than the machine's are");
        uint64_t first = address * promise.channels / 4096;
        uint64_t last = ((address + (words - 1) * bytes) * promise.channels) / 4096;
        if (first < base || last >= limit) report(k + "_window", "the burst is outside the window");
    }

    void constants(const char *kind, const Port &id, const Port &lock, const Port &cache,
                   const Port &prot, const Port &qos) {
        const std::string k = kind;
        if (id.get()) report(k + "_id", "the ID is not 0");
        if (lock.get()) report(k + "_lock", "the access is exclusive");
        if (cache.get() != CACHE) report(k + "_cache", "the memory type is not the machine's");
        if (prot.get()) report(k + "_prot", "the protection is not the machine's");
        if (qos.get()) report(k + "_qos", "the quality of service is not 0");
    }

    // Data and address of a write burst, when both are here.
    void match() {
        while (!addresses.empty() && !data.empty()) {
            const Burst &burst = addresses.front();
            if (data.front().words != burst.words) report("w_last", "WLAST at the wrong word");
            int lane = int(burst.address % bytes), width = 1 << std::min(burst.size, 10);
            int end = lane / width * width + width;
            bool any = false;
            for (int n = 0; n < int(bytes); n++) {
                bool on = data.front().strobe[n / 8] >> (n % 8) & 1;
                any |= on;
                if (on && (n < lane || n >= end))
                    report("w_strobe", "a strobe outside of the transfer");
            }
            if (!any) report("w_empty", "a word without a strobe");
            addresses.pop_front();
            data.pop_front();
            written++;
        }
    }

public:
    ChannelMonitor(const Lookup &port, const std::string &prefix, int number, Verdict &verdict,
                   const Promise &promise)
        : name("channel " + std::to_string(number)), b(port, prefix, true), verdict(verdict),
          promise(promise), bytes(b.rdata.size),
          ar("ar", b.arvalid, b.arready, {b.araddr, b.arlen, b.arsize, b.arburst, b.arid, b.arlock,
                                          b.arcache, b.arprot, b.arqos}),
          aw("aw", b.awvalid, b.awready, {b.awaddr, b.awlen, b.awsize, b.awburst, b.awid, b.awlock,
                                          b.awcache, b.awprot, b.awqos}),
          w("w", b.wvalid, b.wready, {b.wdata, b.wstrb, b.wlast}),
          r("r", b.rvalid, b.rready, {b.rid, b.rdata, b.rresp, b.rlast}),
          wb("b", b.bvalid, b.bready, {b.bid, b.bresp}) {}

    bool at_rest() const {
        return reads.empty() && !writes && !written && addresses.empty() && data.empty()
            && !now.words && ar.low() && aw.low() && w.low();
    }

    // One cycle, with all wires as they are before the clock rises.
    void sample(uint64_t at, bool reset, bool ended) {
        cycle = at;
        if (reset) {
            // The reset is synchronous: what was offered ends with its first clock edge.
            if (resetting && !(ar.low() && aw.low() && w.low() && r.low() && wb.low()))
                report("reset", "VALID is high in reset");
            resetting = true;
            for (Handshake *one : {&ar, &aw, &w, &r, &wb}) one->reset();
            reads.clear(); addresses.clear(); data.clear();
            now.words = 0;
            written = writes = 0;
            return;
        }
        resetting = false;
        const bool rested = ended && reads.empty() && !writes && addresses.empty() && data.empty()
            && !ar.waits && !aw.waits && !w.waits;
        for (Handshake *one : {&ar, &aw, &w, &r, &wb}) one->sample(verdict, name, at);
        if (rested && (ar.offered || aw.offered || w.offered))
            report("rest", "a request while no program runs");

        // Answers first: none belongs to a request of the same cycle.
        if (r.offered) {
            if (reads.empty()) report("r_unasked", "read data that nobody asked for");
            else if (bool(b.rlast.get()) != (reads.front() == 1))
                report("r_last", "RLAST at the wrong word");
            if (b.rid.get()) report("r_id", "read data with an ID that no request had");
            if (b.rresp.get() == EXOKAY) report("r_resp", "EXOKAY without an exclusive access");
        }
        if (r.moved && !reads.empty() && --reads.front() == 0) reads.pop_front();
        if (wb.offered) {
            if (!written) report("b_unasked", "a response to no finished write");
            if (b.bid.get()) report("b_id", "a response with an ID that no request had");
            if (b.bresp.get() == EXOKAY) report("b_resp", "EXOKAY without an exclusive access");
        }
        if (wb.moved && written) written--, writes--;

        if (ar.offered) {
            request("ar", b.araddr, b.arlen, b.arsize, b.arburst, promise.read_base,
                    promise.read_limit);
            constants("ar", b.arid, b.arlock, b.arcache, b.arprot, b.arqos);
        }
        if (ar.moved) {
            reads.push_back(int(b.arlen.get()) + 1);
            if (int(reads.size()) > promise.reads)
                report("ar_outstanding", "more reads in flight than configured");
        }
        if (aw.offered) {
            request("aw", b.awaddr, b.awlen, b.awsize, b.awburst, promise.write_base,
                    promise.write_limit);
            constants("aw", b.awid, b.awlock, b.awcache, b.awprot, b.awqos);
        }
        if (aw.moved) {
            addresses.push_back({b.awaddr.get(), int(b.awlen.get()) + 1, int(b.awsize.get())});
            if (int(++writes) > promise.writes)
                report("aw_outstanding", "more writes in flight than configured");
        }
        if (w.moved) {
            auto strobe = static_cast<const uint8_t *>(b.wstrb.p);
            if (!now.words++) now.strobe.assign(strobe, strobe + b.wstrb.size);
            if (b.wlast.get()) {
                data.push_back(now);
                now.words = 0;
            } else if (data.empty() && !addresses.empty() && now.words >= addresses.front().words) {
                report("w_last", "more data than the address said");
            }
        }
        if (!aw.moved && !w.moved) return;
        match();
        if (data.size() > 2) report("w_lead", "data go further ahead of their address than two words");
    }
};

// The AXI4-Lite bus: both sides, for the master is this folder's.
class LiteMonitor {
    static const int SLOW = 16;         // cycles in which the slave must answer

    const std::string name = "registers";
    Bus b;
    Verdict &verdict;
    const Promise &promise;
    Handshake ar, aw, w, r, wb;
    bool quiet = false;                 // in the last cycle there was no access
    int reads = 0, addresses = 0, data = 0, r_wait = 0, b_wait = 0;
    bool resetting = false;
    uint64_t released = 0;              // first cycle behind the reset

public:
    LiteMonitor(const Lookup &port, const std::string &prefix, Verdict &verdict,
                const Promise &promise)
        : b(port, prefix, false), verdict(verdict), promise(promise),
          ar("lite_ar", b.arvalid, b.arready, {b.araddr}),
          aw("lite_aw", b.awvalid, b.awready, {b.awaddr}),
          w("lite_w", b.wvalid, b.wready, {b.wdata, b.wstrb}),
          r("lite_r", b.rvalid, b.rready, {b.rdata, b.rresp}),
          wb("lite_b", b.bvalid, b.bready, {b.bresp}) {}

    void sample(uint64_t cycle, bool reset) {
        auto report = [&](const char *rule, const char *what) {
            verdict.report(rule, name, cycle, what);
        };
        if (reset) {
            if (resetting && !(r.low() && wb.low())) report("lite_reset", "VALID is high in reset");
            resetting = true;
            for (Handshake *one : {&ar, &aw, &w, &r, &wb}) one->reset();
            reads = addresses = data = r_wait = b_wait = 0;
            released = cycle + 1;
            return;
        }
        resetting = false;
        // Most cycles have no access.
        bool idle = ar.low() && aw.low() && w.low() && r.low() && wb.low();
        if (idle && quiet) return;
        quiet = idle && !reads && !addresses && !data;
        for (Handshake *one : {&ar, &aw, &w, &r, &wb}) one->sample(verdict, name, cycle);
        if (r.offered && !reads) report("lite_r_unasked", "read data that nobody asked for");
        if (wb.offered && (!addresses || !data))
            report("lite_b_unasked", "a response to no write");
        if ((r.offered && b.rresp.get() == EXOKAY) || (wb.offered && b.bresp.get() == EXOKAY))
            report("lite_resp", "EXOKAY, which AXI4-Lite does not have");
        if (r.moved && reads) reads--;
        if (wb.moved && addresses && data) addresses--, data--;
        if (ar.moved) reads++;
        if (aw.moved) addresses++;
        if (w.moved) data++;
        // Bounded answers: a request, accepted or not, waits for a response that does not come.
        bool reading = reads || ar.waits;
        bool writing = (addresses || aw.waits) && (data || w.waits);
        r_wait = reading && r.low() ? r_wait + 1 : 0;
        b_wait = writing && wb.low() && cycle >= released + promise.clearing ? b_wait + 1 : 0;
        if (r_wait > SLOW || b_wait > SLOW) report("lite_slow", "no answer in 16 cycles");
    }
};
