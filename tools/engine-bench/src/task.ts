import { float32, int32, peft } from "@peftjs/core";
import type { BaseModel, HostTensor, Named, PeftModel, TrainingPlugin } from "@peftjs/core";
import { fromConfig } from "@peftjs/models";
import type { TrainingPlan } from "@peftjs/train";
import type { Case } from "./cases.ts";
import { decoderModel } from "./decoder.ts";
import { frozenOption } from "./frozen.ts";
import { METHODS } from "./methods.ts";

/** The case's model with random weights and what is trained of it. `plugins` come before the case's own. */
export function adaptedModel(task: Case, plugins: readonly TrainingPlugin[] = []): Promise<PeftModel> {
  const base = task.model === "decoder" ? decoderModel(task) : encoderModel(task);
  const steered = plugins.reduce((model, plugin) => model.use(plugin), peft(base));
  return METHODS[task.method](steered).apply();
}

function encoderModel({ layers, hidden, heads, vocabulary, frozen }: Case): BaseModel {
  const config = {
    model_type: "bert",
    vocab_size: vocabulary,
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: 4 * hidden,
    hidden_dropout_prob: 0,
    attention_probs_dropout_prob: 0,
  };
  return fromConfig(config, { numLabels: 2, seed: 1, frozen: frozenOption(frozen) });
}

/** Every step sees the same batch; plug-ins see one of as many rows as they ask for. */
export function planOf(task: Case): TrainingPlan {
  const batch = batchOf(task);
  return { batchesPerEpoch: 1, batchAt: () => batch, divided: ({ rows }) => planOf({ ...task, batch: rows }) };
}

/** The batch of the case. */
export function batchOf({ model, batch: rows, length, vocabulary }: Case): Named<HostTensor> {
  const count = rows * length;
  const ids = Int32Array.from({ length: count }, (_, i) => 5 + ((i * 7919) % (vocabulary - 5)));
  const shape = [rows, length];
  if (model === "decoder") {
    return {
      input_ids: int32(ids, shape),
      next_ids: int32(
        Int32Array.from(ids, (_, i) => ids[(i + 1) % count] as number),
        [count],
      ),
      next_weights: float32(
        Float32Array.from(ids, (_, i) => ((i + 1) % length === 0 ? 0 : 1)),
        [count],
      ),
    };
  }
  return {
    input_ids: int32(ids, shape),
    token_type_ids: int32(new Int32Array(count), shape),
    attention_mask: int32(new Int32Array(count).fill(1), shape),
    labels: int32(
      Int32Array.from({ length: rows }, (_, i) => i % 2),
      [rows],
    ),
  };
}
