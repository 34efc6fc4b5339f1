"""The mathematics: nodes, edges, exact effects and how far to trust them.

Read in this order:

    dictionary   what a sparse autoencoder says of an activation, with its normalisation explicit
    activation   which of its features are active, for each architecture
    model        the language model: tokens, hook points, forward passes
    metric       the number that is explained
    cut          one forward pass whose graph falls apart at the sites; vector-Jacobian products of it
    attribute    node effects and edge weights, from the metric back to the embeddings
    baseline     what stands in for a node that is taken out
    ablation     the same effects and edges measured, by removing nodes for real
    integrated   effects by gradients averaged on the way from nothing to the clean run
    trust        estimate against measurement
    influence    what flows through each node; pruning
    faithfulness whether a circuit does it alone
    neurons      the same with MLP neurons for nodes, to compare with
    validation   all of these curves of one circuit
    circuit      the strongest of all that, as records
    gate         whether dictionaries are loaded as they were trained, measured over a text
    chance       the random directions that they are held beside
    again        a saved circuit asked once more

Everything runs in float32 and is deterministic. Tensors are named with their shapes in the
docstrings: `pos` token positions, `d` the width of a site, `m` active (feature, position) pairs of a
site, `t` targets.
"""
