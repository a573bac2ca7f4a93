"""The Python half of tools/reference/src/adapters.ts, which calls it.

    python tools/reference/adapters.py FOLDER CASE …

Each CASE is a folder with base/, adapter/, case.json and expected.safetensors (input_ids, attention_mask, logits, logits_base). The adapter
is loaded, compared, merged and compared again. Then all that it trains is changed, but for what case.json says is kept, and the result saved to CASE/python with
its logits in CASE/expected_python.safetensors. FOLDER/python.json gets the relative differences, and the warnings that a file of Python's own does not cause.
"""

import json
import sys
import warnings
from pathlib import Path

import peft
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification


def relative(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def load(case, adapter="adapter", **options):
    base = AutoModelForSequenceClassification.from_pretrained(case / "base").eval()
    return PeftModel.from_pretrained(base, case / adapter, **options).eval()


def with_warnings(work):
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        return work(), {str(warning.message).split("\n")[0] for warning in caught}


def merge(model):
    """peft 0.21 cannot unload (IA)³ and SHiRA from a model whose saved head is more than one layer, as RoBERTa's is."""
    if model.active_peft_config.peft_type not in (peft.PeftType.IA3, peft.PeftType.SHIRA):
        return model.merge_and_unload()
    model.merge_adapter()
    return model


def check(case, inputs, expected):
    def outputs():
        model = load(case)
        adapted = model(**inputs).logits
        return adapted, None if model.active_peft_config.is_prompt_learning else merge(model)(**inputs).logits

    (adapted, merged), caught = with_warnings(outputs)
    return dict(
        adapter=relative(adapted, expected["logits"]),
        merged=None if merged is None else relative(merged, expected["logits"]),
        moved=relative(adapted, expected["logits_base"]),
        warnings=caught,
    )


def load_to_change(case):
    """Python refuses to train virtual tokens that it loads, though what would learn is all there."""
    config = peft.PeftConfig.from_pretrained(case / "adapter")
    model = load(case, is_trainable=not config.is_prompt_learning)
    for name, parameter in model.named_parameters():
        if config.is_prompt_learning and ("prompt_encoder" in name or "modules_to_save" in name):
            parameter.requires_grad_(True)
    return model


def write_back(case, inputs):
    model = load_to_change(case)
    generator = torch.Generator().manual_seed(3)
    kept = json.loads((case / "case.json").read_text()).get("kept")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and (kept is None or kept not in name):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        logits = model(**inputs).logits
    model.save_pretrained(case / "python")
    tensors = {name: value.float() for name, value in inputs.items()}
    save_file({**tensors, "logits": logits.contiguous()}, case / "expected_python.safetensors")


def run(case):
    expected = load_file(case / "expected.safetensors")
    inputs = {name: expected[name].long() for name in ("input_ids", "attention_mask")}
    report = check(case, inputs, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_back(case, inputs)
    # What the library also says to a file of its own is no complaint about ours.
    _, own = with_warnings(lambda: load(case, "python"))
    return {**report, "warnings": sorted(report["warnings"] - own)}


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.sparse.check_sparse_tensor_invariants.enable()
    folder, *cases = map(Path, sys.argv[1:])
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
    report = dict(versions=versions, cases={case.name: run(case) for case in cases})
    (folder / "python.json").write_text(json.dumps(report, indent=2))
