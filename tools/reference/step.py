"""The same training step in Python (transformers + peft + PyTorch on the CPU), one per line on standard input.

Usage: step.py CASE_JSON THREADS; see tools/engine-bench. Prints "ready", then one JSON line per step.
"""

import json
import resource
import sys
import time

import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import BertConfig, BertForSequenceClassification


def main() -> None:
    case = json.loads(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=case["vocabulary"],
        hidden_size=case["hidden"],
        num_hidden_layers=case["layers"],
        num_attention_heads=case["heads"],
        intermediate_size=4 * case["hidden"],
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=2,
    )
    model = BertForSequenceClassification(config)
    if case["method"] == "lora":
        lora = LoraConfig(task_type=TaskType.SEQ_CLS, r=8, lora_alpha=16, target_modules=["query", "value"])
        model = get_peft_model(model, lora)
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    rows, length, vocabulary = case["batch"], case["length"], case["vocabulary"]
    ids = torch.tensor([5 + (i * 7919) % (vocabulary - 5) for i in range(rows * length)]).reshape(rows, length)
    batch = {
        "input_ids": ids,
        "token_type_ids": torch.zeros_like(ids),
        "attention_mask": torch.ones_like(ids),
        "labels": torch.arange(rows) % 2,
    }
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        value = loss.item()
        milliseconds = (time.perf_counter() - began) * 1e3
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"milliseconds": milliseconds, "loss": value, "peakMemoryBytes": peak}), flush=True)


main()
