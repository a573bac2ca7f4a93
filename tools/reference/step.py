"""The same training step in Python (transformers + peft + PyTorch on the CPU), one per line on standard input.

Usage: step.py CASE_JSON THREADS float32|bfloat16; see tools/engine-bench. Prints one JSON line with versions when ready,
then one per step. With bfloat16, forward and loss run under autocast; weights and optimizer stay float32.
"""

import contextlib
import json
import platform
import resource
import sys
import time

import peft
import torch
import transformers
from peft import LoraConfig, TaskType, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel


def encoder(case: dict):
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
    lora = LoraConfig(task_type=TaskType.SEQ_CLS, r=8, lora_alpha=16, target_modules=["query", "value"])
    return BertForSequenceClassification(config), lora


def decoder(case: dict):
    config = GPT2Config(
        vocab_size=case["vocabulary"],
        n_embd=case["hidden"],
        n_layer=case["layers"],
        n_head=case["heads"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        loss_type="ForCausalLM",
    )
    lora = LoraConfig(
        task_type=TaskType.CAUSAL_LM, r=8, lora_alpha=16, target_modules=["c_attn"], fan_in_fan_out=True
    )
    return GPT2LMHeadModel(config), lora


def batch_of(case: dict) -> dict:
    rows, length, vocabulary = case["batch"], case["length"], case["vocabulary"]
    ids = torch.tensor([5 + (i * 7919) % (vocabulary - 5) for i in range(rows * length)]).reshape(rows, length)
    if case["model"] == "decoder":
        return {"input_ids": ids, "labels": ids}
    return {
        "input_ids": ids,
        "token_type_ids": torch.zeros_like(ids),
        "attention_mask": torch.ones_like(ids),
        "labels": torch.arange(rows) % 2,
    }


def main() -> None:
    case, threads, dtype = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model, lora = decoder(case) if case["model"] == "decoder" else encoder(case)
    if case["method"] == "lora":
        model = get_peft_model(model, lora)
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    batch = batch_of(case)
    versions = {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
    }
    print(json.dumps({"ready": versions}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16) if dtype == "bfloat16" else contextlib.nullcontext():
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        value = loss.item()
        milliseconds = (time.perf_counter() - began) * 1e3
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"milliseconds": milliseconds, "loss": value, "peakMemoryBytes": peak}), flush=True)


main()
