"""Loads every folder that saveForPython.ts wrote with the library's Auto class and compares the outputs.

Run: python check_saved.py <dir>
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers

MASK = [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]
E1 = dict(input_ids=[[1, 5, 6, 7, 8, 2], [1, 9, 10, 2, 0, 0]], attention_mask=MASK, token_type_ids=[[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]])
E2 = dict(input_ids=[[0, 5, 6, 7, 8, 2], [0, 9, 10, 2, 1, 1]], attention_mask=MASK)
AUTO = {"ForSequenceClassification": "AutoModelForSequenceClassification", "ForMaskedLM": "AutoModelForMaskedLM", "Model": "AutoModel"}

transformers.logging.set_verbosity_error()
worst = 0.0
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    config = json.loads((folder / "config.json").read_text())
    (name,) = config["architectures"]
    auto = next(value for suffix, value in AUTO.items() if name.endswith(suffix))
    model, info = getattr(transformers, auto).from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__ == name, (type(model).__name__, name)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), (folder.name, info)
    assert str(model.dtype) == "torch." + config["torch_dtype"], (folder.name, model.dtype)
    inputs = {key: torch.tensor(value) for key, value in (E1 if config["model_type"] == "bert" else E2).items()}
    with torch.no_grad():
        out = model.float().eval()(**inputs)
    for key, values in json.loads((folder / "expected.json").read_text()).items():
        reference = out[key].numpy().ravel()
        error = np.abs(reference - np.array(values)).max() / np.abs(reference).max()
        worst = max(worst, error)
        assert error < 1e-5, (folder.name, key, error)
    print("ok", folder.name)
print(f"largest relative difference {worst:.1e}; transformers {transformers.__version__}")
