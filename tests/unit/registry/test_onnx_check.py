"""What an ONNX model may hold: weights inside, standard operators, nothing that the format does not know."""

from __future__ import annotations

import numpy as np
import pytest

from streamrec.registry.file_formats.checker_program import onnx_problem

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
STANDARD = onnx.helper.make_opsetid("", 21)
MACHINE_LEARNING = onnx.helper.make_opsetid("ai.onnx.ml", 5)
OUTSIDE = {
    "by location": {"data_location": onnx.TensorProto.EXTERNAL},
    "by an entry alone": {
        "external_data": [onnx.StringStringEntryProto(key="location", value="/etc/passwd")]
    },
    "by an empty entry": {"external_data": [onnx.StringStringEntryProto()]},
    "by both": {
        "data_location": onnx.TensorProto.EXTERNAL,
        "external_data": [onnx.StringStringEntryProto(key="location", value="../weights")],
    },
}


def value(name, shape=(None, 2)):
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def graph_of(*nodes, name="graph", inputs=("x",), **more):
    return helper.make_graph(nodes, name, [value(each) for each in inputs], [value("y")], **more)


def model_of(*nodes, opsets=(STANDARD,), functions=(), **more):
    return helper.make_model(
        graph_of(*nodes, **more), opset_imports=list(opsets), functions=list(functions), ir_version=10
    )


def relu(domain=""):
    return helper.make_node("Relu", ["x"], ["y"], domain=domain)


def weights(name="w", **outside):
    if not outside:
        return numpy_helper.from_array(np.ones(2, np.float32), name)
    return onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=[2], **outside)


def sparse(values, indices):
    return onnx.SparseTensorProto(values=values, indices=indices, dims=[4])


def constant(**attribute):
    return onnx.NodeProto(op_type="Constant", output=["c"], attribute=[onnx.AttributeProto(**attribute)])


def branch(*nodes, name="branch"):
    return helper.make_graph(nodes, name, [], [value("c", (2,))])


def conditional(inner):
    """A model with a graph in an attribute of a node."""
    return helper.make_node("If", ["condition"], ["y"], then_branch=inner, else_branch=inner)


def problem_of(model):
    return onnx_problem(model.SerializeToString())


INDICES = numpy_helper.from_array(np.array([0, 1], np.int64), "i")
GRAPH, TENSOR, TENSORS, SPARSE, SPARSES, GRAPHS = 5, 4, 9, 11, 12, 10
PLACES = {
    "an initialiser": lambda t: model_of(relu(), initializer=[t]),
    "the values of a sparse initialiser": lambda t: model_of(relu(), sparse_initializer=[sparse(t, INDICES)]),
    "the indices of a sparse initialiser": lambda t: model_of(
        relu(), sparse_initializer=[sparse(weights("v"), t)]
    ),
    "an attribute": lambda t: model_of(constant(name="value", type=TENSOR, t=t), relu()),
    "a list in an attribute": lambda t: model_of(constant(name="value", type=TENSORS, tensors=[t]), relu()),
    "a sparse attribute": lambda t: model_of(
        constant(name="sparse_value", type=SPARSE, sparse_tensor=sparse(t, INDICES)), relu()
    ),
    "a list of sparse ones": lambda t: model_of(
        constant(name="value", type=SPARSES, sparse_tensors=[sparse(weights("v"), t)]), relu()
    ),
    "an attribute of another type": lambda t: model_of(constant(name="value", type=1, f=1.0, t=t), relu()),
    "a subgraph": lambda t: model_of(conditional(branch(constant(name="value", type=TENSOR, t=t)))),
    "an initialiser of a subgraph": lambda t: model_of(
        conditional(helper.make_graph([], "branch", [], [value("w")], initializer=[t]))
    ),
    "a list of subgraphs": lambda t: model_of(
        constant(name="value", type=GRAPHS, graphs=[graph_of(relu(), initializer=[t])]), relu()
    ),
    "a subgraph of a subgraph": lambda t: model_of(
        conditional(branch(conditional(branch(constant(name="value", type=TENSOR, t=t)))))
    ),
    "a function": lambda t: model_of(
        relu(),
        functions=[
            onnx.FunctionProto(name="F", domain="ai.onnx.ml", node=[constant(name="value", type=TENSOR, t=t)])
        ],
    ),
    "a default of a function": lambda t: model_of(
        relu(),
        functions=[
            onnx.FunctionProto(
                name="F",
                domain="ai.onnx.ml",
                attribute_proto=[onnx.AttributeProto(name="value", type=TENSOR, t=t)],
            )
        ],
    ),
    "training": lambda t: trained(initialization=graph_of(relu(), initializer=[t])),
    "a training step": lambda t: trained(algorithm=graph_of(relu(), initializer=[t])),
}


def trained(**graphs):
    model = model_of(relu())
    model.training_info.append(onnx.TrainingInfoProto(**graphs))
    return model


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize("place", PLACES)
def test_weights_in_another_file_are_refused_wherever_they_are_named(place, outside):
    problem = problem_of(PLACES[place](weights("secret", **OUTSIDE[outside])))
    assert problem is not None
    assert "'secret' lives in another file" in problem


@pytest.mark.parametrize("place", PLACES)
def test_the_same_place_with_weights_inside_is_not_refused_for_that(place):
    assert "another file" not in (problem_of(PLACES[place](weights())) or "")


def test_real_models_pass():
    assert problem_of(model_of(relu())) is None
    scaled = helper.make_node("Mul", ["x", "w"], ["y"])
    assert problem_of(model_of(scaled, initializer=[weights()])) is None
    inner = branch(constant(name="value", type=TENSOR, t=weights()))
    choice = helper.make_node("If", ["condition"], ["y"], then_branch=inner, else_branch=inner)
    condition = helper.make_tensor_value_info("condition", onnx.TensorProto.BOOL, [])
    chosen = helper.make_graph([choice], "graph", [condition], [value("y", (2,))])
    assert problem_of(helper.make_model(chosen, opset_imports=[STANDARD], ir_version=10)) is None
    classes = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0])
    assert problem_of(model_of(classes, opsets=(STANDARD, MACHINE_LEARNING))) is None


FOREIGN = helper.make_node("FusedMatMul", ["x", "x"], ["y"], domain="com.microsoft")
DOMAINS = {
    "a node": lambda: model_of(FOREIGN),
    "a node that names a file": lambda: model_of(
        helper.make_node(
            "EPContext", ["x"], ["y"], domain="com.microsoft", embed_mode=0, ep_cache_context="/tmp/x.so"
        )
    ),
    "a node of a subgraph": lambda: model_of(conditional(branch(FOREIGN))),
    "a node of a function": lambda: model_of(
        relu(), functions=[onnx.FunctionProto(name="F", domain="ai.onnx.ml", node=[FOREIGN])]
    ),
    "a node of a training step": lambda: trained(algorithm=graph_of(FOREIGN)),
    "an operator set": lambda: model_of(relu(), opsets=(STANDARD, helper.make_opsetid("com.microsoft", 1))),
    "an operator set of a function": lambda: model_of(
        relu(),
        functions=[
            onnx.FunctionProto(
                name="F", domain="ai.onnx.ml", opset_import=[helper.make_opsetid("com.microsoft", 1)]
            )
        ],
    ),
    "a function": lambda: model_of(relu(), functions=[onnx.FunctionProto(name="F", domain="com.microsoft")]),
}


@pytest.mark.parametrize("place", DOMAINS)
def test_operators_of_other_domains_are_refused_wherever_they_are(place):
    problem = problem_of(DOMAINS[place]())
    assert problem is not None
    assert "of the domain 'com.microsoft'; allowed are ai.onnx, ai.onnx.ml" in problem


@pytest.mark.parametrize(
    "domain", ["AI.ONNX", "ai.onnx ", "ai.onnx\0", "ai.onnx.preview.training", "pkg.torch"]
)
def test_a_domain_that_looks_like_an_allowed_one_is_refused(domain):
    assert "of the domain" in (problem_of(model_of(relu(domain))) or "")


def test_functions_that_call_functions_are_refused():
    again = onnx.FunctionProto(name="Relu", domain="", input=["x"], output=["y"], node=[relu("ai.onnx")])
    assert "calls another function" in (problem_of(model_of(relu(), functions=[again])) or "")
    hidden = onnx.FunctionProto(name="Relu", domain="ai.onnx", node=[conditional(branch(relu()))])
    assert "calls another function" in (problem_of(model_of(relu(), functions=[hidden])) or "")


def test_a_field_that_onnx_does_not_know_is_refused_wherever_it_is():
    field = b"\xfa\x3f\x03abc"  # number 1023
    whole = model_of(relu()).SerializeToString()
    assert "does not know" in (onnx_problem(whole + field) or "")
    inner = onnx.TensorProto.FromString(weights().SerializeToString() + field)
    assert "Tensor 'w' holds a field" in (problem_of(PLACES["an attribute"](inner)) or "")


def test_what_is_no_model_is_refused():
    whole = model_of(helper.make_node("Mul", ["x", "w"], ["y"]), initializer=[weights()]).SerializeToString()
    for content in (b"", b"not a model", b"\x08\x0a", b"\x80\x04}\x94.", whole[:-3], whole[:40]):
        assert "ONNX model" in (onnx_problem(content) or ""), content


def test_a_model_that_does_not_fit_its_operators_is_refused():
    unknown = helper.make_node("NoSuchOperator", ["x"], ["y"])
    assert "not a valid ONNX model" in (problem_of(model_of(unknown)) or "")
    integers = numpy_helper.from_array(np.ones(2, np.int64), "w")
    mixed = model_of(helper.make_node("Add", ["x", "w"], ["y"]), initializer=[integers])
    assert "not a valid ONNX model" in (problem_of(mixed) or "")
    short = onnx.TensorProto(name="w", data_type=1, dims=[100], raw_data=b"\0" * 8)
    assert "not a valid ONNX model" in (problem_of(model_of(relu(), initializer=[short])) or "")


def test_graphs_within_graphs_end_somewhere():
    graph = b"\x12\x01g"
    for _ in range(60):
        attribute = field(1, b"then_branch") + field(6, graph)
        graph = field(1, field(4, b"If") + field(5, attribute))
    assert "nested too deeply" in (onnx_problem(b"\x08\x0a" + field(7, graph)) or "")


def field(number, content):
    """A field of a protobuf message as bytes: the library does not write what is nested too deeply."""
    length, size = b"", len(content)
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
