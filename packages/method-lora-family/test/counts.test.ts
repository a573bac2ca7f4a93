import type { Method } from "@peftjs/core";
import { architectures, countTrainable } from "@peftjs/testkit/conformance";
import type { Count } from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { adalora, dora, lora, loraplus, rslora } from "../src/index.ts";

type Row = readonly [keyof typeof architectures, object, Partial<Count>];

const allLinear = { targetModules: "all-linear" };
const attention = { rank: 16, targetModules: ["q_proj", "k_proj", "v_proj", "o_proj"] };
const five = { targetModules: ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"] };
const eight = [...attention.targetModules, "gate_proj", "up_proj", "down_proj", "lm_head"];

/** Of the Python library and the papers. */
const rows: Readonly<Record<string, readonly [Method<never>, readonly Row[]]>> = {
  lora: [
    lora as unknown as Method<never>,
    [
      ["RoBERTa-base", {}, { targets: 24, adapter: 294_912, trainable: 887_042, all: 125_534_212 }],
      ["RoBERTa-base", { modulesToSave: [] }, { adapter: 294_912, trainable: 294_912, all: 124_942_082 }],
      ["RoBERTa-base", allLinear, { targets: 72, adapter: 1_327_104, trainable: 1_919_234, all: 126_566_404 }],
      ["RoBERTa-base", { bias: "all" }, { trainable: 989_186 }],
      ["RoBERTa-base", { bias: "lora_only" }, { trainable: 905_474 }],
      ["RoBERTa-base", { targetModules: ["query"] }, { targets: 12 }],
      ["RoBERTa-base", { targetModules: ["dense"] }, { targets: 36 }],
      ["RoBERTa-base", { targetModules: ["dense"], modulesToSave: [] }, { targets: 37 }],
      ["RoBERTa-base", { targetModules: ".*layer\\.(0|1)\\..*query" }, { targets: 2 }],
      ["RoBERTa-base", { targetModules: ["query", "value"], layersToTransform: [0, 11] }, { targets: 4 }],
      ["RoBERTa-large", {}, { adapter: 786_432, trainable: 1_838_082, all: 357_199_876 }],
      ["RoBERTa-large", allLinear, { adapter: 3_538_944 }],
      ["BERT-base", {}, { adapter: 294_912, trainable: 296_450, all: 109_780_228 }],
      ["BERT-base", allLinear, { adapter: 1_339_392 }],
      ["LLaMA-7B", {}, { adapter: 4_194_304, trainable: 4_194_304, all: 6_742_609_920 }],
      ["LLaMA-7B", attention, { targets: 128, adapter: 16_777_216 }],
      ["LLaMA-7B", allLinear, { targets: 224, adapter: 19_988_480 }],
      ["LLaMA-7B", { rank: 32, ...five }, { targets: 160, adapter: 56_098_816 }],
      ["LLaMA-2-7B with its output layer", { rank: 16, targetModules: eight }, { targets: 225, adapter: 40_554_496 }],
      ["GPT-2", {}, { targets: 12, adapter: 294_912, all: 124_439_808 + 294_912 }],
      ["DeBERTaV3-base", allLinear, { targets: 72, adapter: 1_327_104 }],
    ],
  ],
  rslora: [rslora as unknown as Method<never>, [["RoBERTa-base", {}, { adapter: 294_912, trainable: 887_042 }]]],
  loraplus: [loraplus as unknown as Method<never>, [["RoBERTa-base", {}, { adapter: 294_912, trainable: 887_042 }]]],
  dora: [
    dora as unknown as Method<never>,
    [
      ["RoBERTa-base", {}, { adapter: 313_344, trainable: 905_474, all: 125_552_644 }],
      ["RoBERTa-large", {}, { adapter: 835_584 }],
      ["LLaMA-7B", { rank: 32, ...five }, { adapter: 56_975_360 }],
      ["LLaMA-7B", { rank: 16, ...five }, { adapter: 28_925_952 }],
    ],
  ],
  adalora: [
    adalora as unknown as Method<never>,
    [
      ["RoBERTa-base", {}, { targets: 72, adapter: 1_991_520, trainable: 2_583_650, all: 127_230_892 }],
      ["RoBERTa-large", {}, { adapter: 5_310_144 }],
      ["BERT-base", {}, { targets: 24, adapter: 442_656 }],
      ["LLaMA-7B", {}, { targets: 64, adapter: 6_292_224 }],
    ],
  ],
};

describe.each(Object.entries(rows))("parameter counts of %s", (_, [method, cases]) => {
  it.each(cases)("%s %j", (name, settings, expected) => {
    expect(countTrainable(method, settings as never, architectures[name])).toMatchObject(expected);
  });
});
