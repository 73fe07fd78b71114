import json
import sys

import pytest
from absl.testing import flagsaver

from launch import export
from tiny_tracker import make_tiny, write_tracker


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_tracker(tmp_path_factory.mktemp("export"), *make_tiny())


def run(output, **given):
    with flagsaver.flagsaver((export._OUTPUT, str(output)), **given):
        export.main(["export"])


def test_onnx_is_written_compared_and_described(weights, tmp_path, capsys):
    pytest.importorskip("onnx", reason="needs requirements-export.txt")
    pytest.importorskip("onnxruntime", reason="needs requirements-export.txt")
    output = tmp_path / "onnx"
    run(output, weights=str(weights))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("template.onnx: 0.4 MB, template uint8[1, 32, 32, 3] -> template_t")
    assert lines[1].endswith("search uint8[1, 64, 64, 3] -> box_cxcywh, score")
    assert "Compared with the network in float32" in lines[2]
    graphs = json.loads((output / "export.json").read_text())["graphs"]
    assert [x["name"] for x in graphs["search"]["inputs"]] == ["template_tokens", "search"]
    with pytest.raises(ValueError, match="holds an export: choose another --output or add --over"):
        run(output, weights=str(weights))
    run(output, weights=str(weights), overwrite=True)


def test_graphs_that_give_other_boxes_are_an_error(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, "export_tracker", lambda *_, **__: {"graphs": {}, "versions": {}})
    monkeypatch.setattr(export, "largest_differences", lambda *_, **__: (float("nan"), 0.0))
    with pytest.raises(ValueError, match="the graphs give other boxes than the network"):
        run(tmp_path / "wrong", weights=str(weights))


def test_without_onnx_the_message_says_what_to_install(weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "esat_jax.exporting.jaxpr_to_onnx", raising=False)
    monkeypatch.delitem(sys.modules, "esat_jax.exporting.onnx_graph", raising=False)
    with pytest.raises(ValueError, match=r"pip install -r requirements-export\.txt"):
        run(tmp_path / "new", weights=str(weights))
    assert not (tmp_path / "new").exists()


def test_one_source_of_weights_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match="either --weights=FILE, or --config=FILE"):
        run(tmp_path / "new")
