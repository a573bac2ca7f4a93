import type { Method } from "@peftjs/core";
import { parallel, series } from "@peftjs/method-classic";
import { dora, lora } from "@peftjs/method-lora-family";
import { architectures, countTrainable } from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { ist } from "../src/index.ts";
import { started } from "./context.ts";

interface Case {
  readonly model: keyof typeof architectures;
  readonly blocks: number;
  readonly method: string;
  readonly settings: object;
  readonly total: number;
  readonly active: number;
}

const methods: Readonly<Record<string, unknown>> = { lora, dora, series, parallel };
const wide = { rank: 32, targetModules: ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"] };
const half = { ...wide, rank: 16 };
const small = { rank: 8, targetModules: ["query", "value"] };
const ffn = ["ffnUp", "ffnDown"];
const most = { rank: 32, targetRoles: ["query", "key", "value", ...ffn] };
const both = { targetRoles: ffn };
const down = { useAdapterp: true };
const afterwards = { ...down, bottleneckSize: 64 };

/** Adapter parameters in all, and those that learn in a step of IST. */
const cases: readonly Case[] = [
  { model: "LLaMA-7B", blocks: 32, method: "lora", settings: { rank: 8 }, total: 4_194_304, active: 1_048_576 },
  { model: "LLaMA-7B", blocks: 32, method: "lora", settings: wide, total: 56_098_816, active: 14_024_704 },
  { model: "LLaMA-7B", blocks: 32, method: "dora", settings: half, total: 28_925_952, active: 7_231_488 },
  { model: "LLaMA-7B", blocks: 32, method: "dora", settings: wide, total: 56_975_360, active: 14_243_840 },
  { model: "LLaMA-7B", blocks: 32, method: "series", settings: {}, total: 201_326_592, active: 50_331_648 },
  { model: "LLaMA-7B", blocks: 32, method: "series", settings: down, total: 67_108_864, active: 16_777_216 },
  { model: "LLaMA-7B", blocks: 32, method: "parallel", settings: both, total: 247_463_936, active: 61_865_984 },
  { model: "LLaMA-3-8B", blocks: 32, method: "lora", settings: wide, total: 56_623_104, active: 14_155_776 },
  { model: "LLaMA-3-8B", blocks: 32, method: "dora", settings: half, total: 29_097_984, active: 7_274_496 },
  { model: "LLaMA-3-8B", blocks: 32, method: "dora", settings: wide, total: 57_409_536, active: 14_352_384 },
  { model: "LLaMA-13B", blocks: 40, method: "lora", settings: wide, total: 87_818_240, active: 21_954_560 },
  { model: "LLaMA-13B", blocks: 40, method: "dora", settings: wide, total: 89_190_400, active: 22_297_600 },
  { model: "RoBERTa-base", blocks: 12, method: "lora", settings: small, total: 294_912, active: 73_728 },
  { model: "RoBERTa-base", blocks: 12, method: "series", settings: afterwards, total: 1_179_648, active: 294_912 },
  { model: "RoBERTa-base", blocks: 12, method: "series", settings: down, total: 4_718_592, active: 1_179_648 },
  { model: "RoBERTa-base", blocks: 12, method: "parallel", settings: both, total: 23_592_960, active: 5_898_240 },
  { model: "RoBERTa-base", blocks: 12, method: "lora", settings: most, total: 4_718_592, active: 1_179_648 },
  { model: "RoBERTa-base", blocks: 12, method: "dora", settings: most, total: 4_792_320, active: 1_198_080 },
  { model: "RoBERTa-large", blocks: 24, method: "lora", settings: small, total: 786_432, active: 196_608 },
  { model: "RoBERTa-large", blocks: 24, method: "series", settings: afterwards, total: 3_145_728, active: 786_432 },
  { model: "RoBERTa-large", blocks: 24, method: "series", settings: down, total: 12_582_912, active: 3_145_728 },
];

describe("parameters that learn in a step", () => {
  it.each(cases)("$model, $method $settings: $active", async ({ model, blocks, method, settings, total, active }) => {
    const [choice] = await started(ist, { blocks }).advance(1);
    const count = (given: object): number =>
      countTrainable(methods[method] as Method<never>, given as never, architectures[model]).adapter;
    expect(count(settings)).toBe(total);
    expect(count({ ...settings, layersToTransform: choice?.blocks })).toBe(active);
  });
});
