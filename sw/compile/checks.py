"""What a model, a machine and a task must have in common; else a sentence says what is missing."""

from hw.config import load as load_config
from hw.config import presets
from hw.formats import FORMATS, named, supported
from sw.errors import UserError

from .sparse import find_sparse


__all__ = ["check_formats", "check_head", "check_pages", "check_task"]


def check_head(name, size, config):
    """Raise :class:`UserError` if heads of ``size`` elements are too large for a machine."""
    padded = -(-size // 32) * 32
    if padded > config.max_head:
        raise UserError(f"{name} does not fit configuration {config}: its heads of {padded} "
                        f"elements (padded) exceed max_head = {config.max_head}")


def check_task(model, prompt, tokens):
    """Raise :class:`UserError` unless the model can do what is asked."""
    if not prompt:
        raise UserError("the prompt has no tokens; even an empty text begins with one")
    for token in prompt:
        if not 0 <= token < model.vocabulary:
            raise UserError(f"the prompt has token {token}, but {model.name} knows tokens 0 to "
                            f"{model.vocabulary - 1}")
    if len(prompt) > model.context:
        raise UserError(f"the prompt has {len(prompt)} tokens, but {model.name} sees at most "
                        f"{model.context} at once")
    if tokens < 1:
        raise UserError(f"the number of tokens to generate must be positive, not {tokens}")
    if len(prompt) + tokens - 1 > model.context:
        raise UserError(f"a prompt of {len(prompt)} tokens leaves room for "
                        f"{model.context - len(prompt) + 1} more in the context of {model.name} "
                        f"({model.context}), not {tokens}")
    for sees in dict.fromkeys(model.sees):
        sees.check_range(model.name, model.context)


def check_pages(model, config, positions, prompts):
    """Raise :class:`UserError` if a machine cannot choose among the pages of its texts."""
    sees = find_sparse(model)
    if sees is None:
        return
    if prompts > 1:
        raise UserError(f"layers that choose pages take one prompt, not {prompts}: bounds of pages "
                        "are not shared")
    if not config.pages:
        having = [name for name in presets() if load_config(name).pages]
        raise UserError(f"configuration {config} chooses no pages (pages = 0); presets "
                        f"{', '.join(having)} do")
    page = sees.sparse.page
    if positions // page > config.pages:
        raise UserError(f"{positions} tokens are {positions // page} pages of {page}, "
                        f"configuration {config} chooses from at most {config.pages}; use larger "
                        "pages")


def check_formats(config, formats, activation, kv):
    """Raise :class:`UserError` unless a machine has these formats of weights and elements."""
    for wanted, having, what in ((formats, config.formats, "weight format"),
                                 ([activation], config.activations, "activations of type"),
                                 ([kv], config.kv, "keys and values of type")):
        for name in wanted:
            if name not in having:
                raise UserError(f"configuration {config} has no {what} {name}; it has "
                                f"{', '.join(having)}, and preset formats has all")
    for name in formats:
        if not supported(named(name), activation):
            able = [other.name for other in FORMATS.values()
                    if supported(other, activation)]
            raise UserError(f"weights of {name} cannot be multiplied by activations of "
                            f"{activation}; {', '.join(able)} can")
