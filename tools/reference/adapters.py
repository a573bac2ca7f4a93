"""Loads adapters written by PEFT.js with the Python library and compares the logits.

    npx tsx --conditions=@peftjs/source tools/reference/src/adapters.ts FOLDER
    python tools/reference/adapters.py FOLDER

FOLDER/<case>/ holds base/ (a Hugging Face model folder), adapter/ (adapter_config.json, adapter_model.safetensors) and
expected.safetensors (input_ids, attention_mask, logits, and the logits of the base model). Every adapter is loaded,
compared, merged and compared again. A warning counts as a failure. Exit code 1 when a case differs.
"""

import sys
import warnings
from pathlib import Path

import peft
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

TOLERANCE = 1e-5


def relative(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def check(case):
    expected = load_file(case / "expected.safetensors")
    inputs = {name: expected[name].long() for name in ("input_ids", "attention_mask")}
    base = AutoModelForSequenceClassification.from_pretrained(case / "base").eval()
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        before = base(**inputs).logits
        model = PeftModel.from_pretrained(base, case / "adapter").eval()
        adapted = model(**inputs).logits
        merged = model.merge_and_unload()(**inputs).logits
    figures = {
        "base": relative(before, expected["logits_base"]),
        "adapter": relative(adapted, expected["logits"]),
        "merged": relative(merged, expected["logits"]),
        "moved": relative(adapted, expected["logits_base"]),
    }
    messages = [str(w.message).split("\n")[0] for w in caught]
    good = max(figures["base"], figures["adapter"], figures["merged"]) < TOLERANCE and figures["moved"] > 1e-3
    ok = good and not messages
    text = "  ".join(f"{name} {value:.1e}" for name, value in figures.items())
    print(f"{'ok  ' if ok else 'FAIL'} {case.name:24} {text}", *messages, sep="\n     " if messages else "")
    return ok


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}; largest relative difference of the logits")
    cases = sorted(folder for folder in Path(sys.argv[1]).iterdir() if (folder / "adapter").is_dir())
    results = [check(case) for case in cases]
    sys.exit(0 if results and all(results) else 1)
