import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scd_tui.graph import (
    SCHEMA_VERSION,
    SITE_KINDS,
    Circuit,
    Completion,
    Edge,
    Marks,
    ModelIdentity,
    Node,
    NodeId,
    NodeRef,
    Outcome,
    Removal,
    Settings,
    Site,
    Supernode,
    Target,
    Token,
    TokenShift,
    decode_circuit,
    encode_circuit,
    parse_node,
    parse_site,
)

NUMBERS = st.integers(min_value=0, max_value=10**9)
SITES = st.builds(Site, NUMBERS, st.sampled_from(SITE_KINDS))
NODES = st.one_of(
    st.builds(lambda p, s, i: NodeRef("feature", p, s, i), NUMBERS, SITES, NUMBERS),
    st.builds(lambda p, s: NodeRef("error", p, s), NUMBERS, SITES),
    st.builds(lambda k, p: NodeRef(k, p), st.sampled_from(["token", "pos"]), NUMBERS),
    st.builds(
        lambda p, a, b: NodeRef("root", p, metric="diff", token_ids=(a, b)),
        NUMBERS,
        NUMBERS,
        NUMBERS,
    ),
    st.builds(
        lambda p, pairs: NodeRef("root", p, metric="diff", token_ids=tuple(sum(pairs, ()))),
        NUMBERS,
        st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4),
    ),
    st.builds(
        lambda m, p, ids: NodeRef("root", p, metric=m, token_ids=tuple(ids)),
        st.sampled_from(["logp", "logit"]),
        NUMBERS,
        st.lists(NUMBERS, min_size=1, max_size=4),
    ),
)


@given(NODES)
def test_every_node_name_is_ascii_and_parses_back_to_its_parts(ref: NodeRef) -> None:
    assert ref.id.isascii()
    assert parse_node(ref.id) == ref


@given(st.text(max_size=40))
def test_what_parses_is_written_the_same_way(text: str) -> None:
    try:
        ref = parse_node(text)
    except ValueError:
        return
    assert ref.id == text


@pytest.mark.parametrize(
    "name",
    [
        "resid_post.11/1154@9",
        "hook_z.3/77@4",
        "mlp_out.5/error@9",
        "embed/token@3",
        "embed/pos@3",
        "diff/1808-835@9",
        "logp/1808@9",
        "logit/1808@0",
        "logp/1808+17@9",
        "diff/1808-835+17-20@9",
    ],
)
def test_the_documented_names_parse(name: str) -> None:
    assert str(parse_node(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "resid_post.11/1154",
        "resid_post.01/1@2",
        "resid_post.1/-1@2",
        "resid_post.1/1@2\n",
        "resid_post.1/1@٣",
        "other.1/1@2",
        "diff/1@2",
        "logp/1-2@3",
        "logp/1+@3",
        "diff/1-2+3@4",
        "embed/error@1",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a node name"):
        parse_node(name)


def test_a_site_name_parses_back() -> None:
    assert parse_site("mlp_out.5") == Site(5, "mlp_out")
    with pytest.raises(ValueError, match="not a site"):
        parse_site("mlp_out")


def small_circuit() -> Circuit:
    there = Completion(Token(5, " question"), 0.06, 1.5)
    target = Target("diff", 1, there, Completion(Token(6, "\x1b[31m"), 0.05, 1.25), True)
    feature = NodeId("resid_post.0/3@1")
    return Circuit(
        prompt="that is\n",
        tokens=(Token(1, "that"), Token(2, " is")),
        model=ModelIdentity(
            name="demo",
            revision="abc",
            dictionaries="topk",
            dictionaries_revision="def",
            device="cpu",
            layers=1,
            context=64,
            vocabulary=10,
            sites=(Site(0, "resid_post"),),
        ),
        settings=Settings(),
        target=target,
        metric_value=0.25,
        share_explained=0.5,
        completions=(there,),
        sites=(),
        nodes=(Node(target.root, 0.25, 0.0, top=True), Node(feature, 1.5, 2.0, top=True)),
        edges=(Edge(feature, target.root, 1.5),),
        expanded=(target.root,),
    )


def test_a_circuit_survives_being_saved() -> None:
    circuit = small_circuit()
    data = encode_circuit(circuit)
    assert decode_circuit(data) == circuit
    assert b"\x1b" not in data
    assert msgspec.json.decode(data)["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.update(schema_version=SCHEMA_VERSION + 1), "newer scd-tui"),
        (lambda d: d.pop("tokens"), "not a circuit file"),
        (lambda d: d["nodes"][0].update(id="nonsense"), "not a node name"),
        (lambda d: d["edges"][0].update(source="mlp_out.0/9@0"), "does not hold it"),
        (lambda d: d["nodes"][1].update(id="resid_post.0/3@7"), "beyond"),
        (lambda d: d["nodes"][1].update(effect="much"), "not a circuit file"),
    ],
)
def test_a_file_that_is_no_circuit_is_refused_in_one_sentence(change, complaint: str) -> None:
    data = msgspec.json.decode(encode_circuit(small_circuit()))
    change(data)
    with pytest.raises(ValueError, match=complaint) as caught:
        decode_circuit(msgspec.json.encode(data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"\x80\x04.", b"{" * 100_000])
def test_bytes_that_are_no_json_object_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a circuit file"):
        decode_circuit(data)


def test_marks_are_kept_and_name_nodes_of_the_prompt() -> None:
    circuit = small_circuit()
    feature = circuit.nodes[1].id
    marks = Marks((feature,), {feature: "a [note]\x1b"}, (Supernode("two", (feature,)),))
    assert marks.nodes == (feature,)
    data = encode_circuit(msgspec.structs.replace(circuit, marks=marks))
    assert decode_circuit(data).marks == marks
    beyond = msgspec.structs.replace(circuit, marks=Marks((NodeId("resid_post.0/3@9"),)))
    with pytest.raises(ValueError, match="beyond the file's 2 tokens"):
        decode_circuit(encode_circuit(beyond))


def test_exact_effects_are_filled_in_by_name() -> None:
    circuit = small_circuit()
    measured = circuit.with_exact({circuit.nodes[1].id: 1.25})
    assert [node.exact for node in measured.nodes] == [None, 1.25]


def test_what_was_tried_is_kept_and_files_from_before_it_was_are_read() -> None:
    circuit = small_circuit()
    feature = circuit.nodes[1].id
    outcome = Outcome(
        predicted=1.5,
        exact=1.25,
        promoted=(TokenShift(Token(1, "\x1b"), 0.5),),
        suppressed=(),
        completions=circuit.completions,
    )
    tried = (Removal((feature,), outcome), Removal((feature,), outcome, circuit.target.root, 0.5))
    data = encode_circuit(msgspec.structs.replace(circuit, removals=tried))
    assert decode_circuit(data).removals == tried
    old = msgspec.json.decode(encode_circuit(circuit))
    del old["removals"]
    assert decode_circuit(msgspec.json.encode(old)) == circuit
    beyond = Removal((NodeId("resid_post.0/3@9"),), outcome)
    for spoilt in (beyond, Removal((), outcome), Removal((feature, feature), outcome, feature)):
        with pytest.raises(ValueError, match=r"beyond the file's|not of which nodes"):
            decode_circuit(encode_circuit(msgspec.structs.replace(circuit, removals=(spoilt,))))
