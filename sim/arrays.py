"""Finds the memories on the die in the headers that Verilator writes."""

import re


__all__ = ["arrays_header"]


#: The array of a module of :mod:`hw.ram`. Verilator inlines modules, or gives them a class.
ARRAY = re.compile(r"VlUnpacked<.+?/\*(\d+):0\*/, (\d+)> (\w+__DOT__mem);")
PART = re.compile(r"^\s*(Vtokamac_\w+)\* (?:const )?(\w+);", re.MULTILINE)
ROOT, SYMBOLS = "Vtokamac___024root", "Vtokamac__Syms"


def arrays_header(folder):
    """C++ table of all memories of the model whose headers lie in ``folder``.

    Memories that nothing reads are not in the model.
    """
    headers = {path.stem: path.read_text() for path in folder.glob("Vtokamac_*.h")}
    used, rows = [], []

    def visit(module, path, names):
        if module not in used:
            used.append(module)
        for width, depth, member in ARRAY.findall(headers[module]):
            name = plain([*names, member])
            array = f"{path}->{member}"
            rows.append(f'        {{"{name}", &{array}, sizeof({array}) / {depth}, {depth}, '
                        f"{int(width) + 1}}},")
        for kind, member in PART.findall(headers[module]):
            if kind != SYMBOLS:
                visit(kind, f"{path}->{member}", [*names, member])

    visit(ROOT, "top.rootp", [])
    includes = "\n".join(f'#include "{module}.h"' for module in used)
    table = "\n".join(rows)
    return f"""#include <cstddef>
#include <vector>
#include "Vtokamac.h"
{includes}
struct ArrayEntry {{ const char *name; void *p; size_t size, depth, width; }};
inline std::vector<ArrayEntry> arrays(Vtokamac &top) {{
    return {{
{table}
    }};
}}
"""


def plain(members):
    """Name in the machine, as ``core.workspace.a``. Verilator escapes what is no C++ name, and
    Amaranth numbers submodules that are named as signals are."""
    text = ".".join(member.removeprefix("__PVT__") for member in members)
    text = re.sub(r"__0([0-9a-fA-F]{2})", lambda code: chr(int(code[1], 16)),
                  text.replace("__DOT__", "."))
    text = re.sub(r"\$\d+", "", text)
    return text.removeprefix("tokamac.").removesuffix(".mem")
