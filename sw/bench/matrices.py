"""The matrices of a model without padding: their sizes, and bytes that decoding must move."""

from hw.formats import BLOCK, FORMATS


__all__ = ["bits_a_weight", "layer_matrices", "matrix_bytes", "shapes", "useful_bytes"]


def layer_matrices(dim, hidden, n_heads, n_kv_heads, **_):
    """``(rows, size of a row)`` of the matrices of a layer, in the order of the tape."""
    width = dim // n_heads * n_kv_heads
    return (dim + 2 * width, dim), (dim, dim), (2 * hidden, dim), (dim, hidden)


def shapes(model):
    """Rows and sizes of rows of a model's matrices, unpadded: of a layer in the order in which
    :class:`sw.compile.layers.QuantisedLayer` has them, and of the output matrix."""
    return (layer_matrices(model.dim, model.hidden, model.n_heads, model.n_kv_heads),
            (model.vocabulary, model.dim))


def matrix_bytes(shape, format):
    """Bytes of a matrix of ``shape`` (rows, size of a row) with its scales, and without padding."""
    (rows, size), format = shape, FORMATS[format]
    # A field of 16 bits has the scales of both halves of a block.
    scale = format.scale.bytes // 2 if format.group == BLOCK // 2 else format.scale.bytes
    groups = -(-size // (format.group or size))
    return rows * size * format.element.bits / 8 + rows * groups * scale + 4 * format.factor


def stored_bytes(model, quantised):
    """``(layers, output)``: bytes of the matrices of all layers, and of the output matrix."""
    of_layer, output = shapes(model)
    return (sum(matrix_bytes(shape, matrix.format) for layer in quantised.layers
                for shape, matrix in zip(of_layer, layer.matrices, strict=True)),
            matrix_bytes(output, quantised.classifier.format))


def bits_a_weight(model, quantised):
    """Bits in memory for each weight of a matrix, scales included."""
    of_layer, output = shapes(model)
    weights = sum(rows * size for rows, size in (*len(model.layers) * of_layer, output))
    return 8 * sum(stored_bytes(model, quantised)) / weights


def useful_bytes(model, quantised, positions, chosen):
    """Bytes that decoding must move: all weights, scales and gains of norms, keys and values, and
    embeddings, unpadded.

    Parameters
    ----------
    model : :class:`sw.models.Model`
    quantised : :class:`sw.compile.layers.QuantisedModel`
        The same; its matrices say their formats.
    positions : int
        Tokens that passed through the layers.
    chosen : int
        Tokens for which the output matrix was needed.
    """
    layers, output = stored_bytes(model, quantised)
    # A token's keys and values, with a code for 32 keys and one for all values.
    entry = len(model.layers) * model.n_kv_heads * (2 * model.head + -(-model.head // BLOCK) + 1)
    reads = sum(range(1, positions + 1)) * entry
    # A row of the embedding, and two gains for each layer; that of the last norm is kept.
    rows = 4 * model.dim * (1 + 2 * len(model.layers))
    return positions * (layers + entry + rows) + chosen * output + reads
