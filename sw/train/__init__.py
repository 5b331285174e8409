"""Training of the bundled language model: data, tokenizer, model, export and measurement."""
