// The block RAM of the ECP5 as Yosys maps to it; Lattice's Memory Usage Guide is FPGA-TN-02204: 512 rows of
// four bytes of 9 bits, and two ports.
//
// Addresses count bits; widths of 1, 2 and 4 use 8 of a byte. With 18 and 36 bits the lowest
// address pins are byte enables. What the other port writes in the same cycle is undefined for who
// reads it, and so is a write during a reset: here the first is read inverted, and the second does
// not happen, so that a design that relies on either fails.

#pragma once

#include <cstdint>

class BlockRam {
    uint64_t rows[512], read[2] = {0, 0}, late[2] = {0, 0};

public:
    enum Mode { NORMAL, WRITETHROUGH, READBEFOREWRITE };

    struct Side { uint32_t width, mode, late; };
    struct Inputs { uint32_t address; uint64_t data; bool active, write, reset, late_enable; };

    // From the words of 18 bits of the INITVALs.
    explicit BlockRam(const uint32_t *words) {
        for (int n = 0; n < 512; n++) rows[n] = words[2 * n] | uint64_t(words[2 * n + 1]) << 18;
    }

    // Where in its row an access begins.
    static int first_bit(uint32_t width, uint32_t address) {
        int byte = address >> 3 & 3;
        switch (width) {
        case 36: return 0;
        case 18: return address & 16 ? 18 : 0;
        case 9: return 9 * byte;
        default: return 9 * byte + (address & 7 & ~(width - 1));
        }
    }

    // Bits of a word that its byte enables let through.
    static uint64_t enabled(uint32_t width, uint32_t address) {
        if (width < 18) return (1u << width) - 1;
        uint64_t bits = 0;
        for (uint32_t n = 0; n < width / 9; n++)
            if (address >> n & 1) bits |= uint64_t(511) << 9 * n;
        return bits;
    }

    void clock(const Side side[2], const Inputs in[2]) {
        uint64_t writes[2] = {0, 0}, data[2], old[2];
        int first[2];
        for (int n = 0; n < 2; n++) {
            first[n] = first_bit(side[n].width, in[n].address);
            data[n] = in[n].data << first[n];
            old[n] = rows[in[n].address >> 5];
            if (in[n].active && in[n].write && !in[n].reset)
                writes[n] = enabled(side[n].width, in[n].address) << first[n];
        }
        bool same = in[0].address >> 5 == in[1].address >> 5;
        for (int n = 0; n < 2; n++) {
            uint64_t &row = rows[in[n].address >> 5];
            row = (row & ~writes[n]) | (data[n] & writes[n]);
            if (in[n].reset) late[n] = 0;
            else if (in[n].late_enable) late[n] = read[n];
            uint64_t seen = old[n] ^ (same ? writes[1 - n] : 0);
            if (side[n].mode == WRITETHROUGH) seen = (seen & ~writes[n]) | (data[n] & writes[n]);
            if (in[n].reset) read[n] = 0;
            else if (in[n].active && !(side[n].mode == NORMAL && in[n].write))
                read[n] = seen >> first[n] & ((uint64_t(1) << side[n].width) - 1);
        }
    }

    // What a port shows: what was read last, or that a cycle later.
    uint64_t shown(const Side &side, int n) const { return side.late ? late[n] : read[n]; }
};
