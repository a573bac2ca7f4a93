"""The Python half of tools/reference/src/int8Adapter.ts, which calls it.

    python tools/reference/logits.py BASE FOLDER ADAPTER …

Loads each adapter FOLDER/ADAPTER onto the base model in float32, runs it on the batches of FOLDER/batches.safetensors (input_ids.0, …), and
writes the logits of all batches, one after another, to FOLDER/logits.safetensors under the adapter's name.
"""

import sys
from pathlib import Path

import peft
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification


def head_size(adapter: Path) -> int:
    weights = load_file(adapter / "adapter_model.safetensors")
    return next(value.shape[0] for name, value in weights.items() if name.endswith("classifier.weight"))


def logits(base: str, adapter: Path, batches: list[dict]) -> torch.Tensor:
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=head_size(adapter), dtype=torch.float32)
    model = PeftModel.from_pretrained(model.eval(), adapter).eval()
    with torch.no_grad():
        return torch.cat([model(**batch).logits for batch in batches])


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    base, folder, names = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    tensors = load_file(folder / "batches.safetensors")
    count = len({name.split(".")[1] for name in tensors})
    inputs = ("input_ids", "attention_mask", "token_type_ids")
    batches = [{name: tensors[f"{name}.{i}"].long() for name in inputs} for i in range(count)]
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
    found = {name: logits(base, folder / name, batches) for name in names}
    save_file(found, folder / "logits.safetensors", metadata={"versions": versions})
    print(versions)
