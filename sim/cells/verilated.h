// In place of Verilator's, for a model that is a netlist.

#pragma once

struct VerilatedContext {};
