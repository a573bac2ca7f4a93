import { readdirSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { run } from "./run.ts";
import { workspace } from "./workspace.ts";

const at = workspace();

async function train(out: string, ...flags: readonly string[]): Promise<void> {
  const files = ["--model", at("model"), "--data", at("dev.jsonl"), "--out", out];
  const settings = ["--threads", "1", "--learning-rate", "0.02", "--epochs", "1", "--seed", "1"];
  const { code, stderr } = await run("train", ...files, ...settings, ...flags);
  expect(code, stderr).toBe(0);
}

async function logits(model: string, ...flags: readonly string[]): Promise<number[]> {
  const files = ["--model", model, "--data", at("dev.jsonl")];
  const { code, stdout, stderr } = await run("predict", ...files, "--json", ...flags);
  expect(code, stderr).toBe(0);
  return stdout
    .trim()
    .split("\n")
    .flatMap((line) => (JSON.parse(line) as { logits: number[] }).logits);
}

function expectNear(actual: readonly number[], expected: readonly number[], most: number): void {
  expect(actual).toHaveLength(expected.length);
  actual.forEach((logit, i) => expect(Math.abs(logit - expected[i]!)).toBeLessThan(most));
}

describe("--frozen", () => {
  it("holds weights in half of their memory, or as their file does", async () => {
    await train(at("half"), "--frozen", "bfloat16");
    const adapter = ["--adapter", at("half")];
    const wide = await logits(at("model"), ...adapter);
    const half = await logits(at("model"), ...adapter, "--frozen", "bfloat16");
    expect(half).not.toEqual(wide);
    expectNear(half, wide, 0.05);
    expect(await logits(at("model"), ...adapter, "--frozen", "auto")).toEqual(wide);
  });

  it("holds them in eight bits, as a configuration file says it, too, and reads again what training has kept", async () => {
    const cache = at("quantized");
    writeFileSync(
      at("eight.yaml"),
      `frozen: int8\nfrozenExclude: [query]\nfrozenBackward: float32\nfrozenCache: ${cache}\n`,
    );
    await train(at("eight"), "--config", at("eight.yaml"));
    expect(readdirSync(cache)).toHaveLength(1);
    const adapter = ["--adapter", at("eight")];
    const eight = [...adapter, "--frozen", "int8", "--frozen-cache", cache];
    const exact = await logits(at("model"), ...adapter);
    const excluded = await logits(at("model"), ...eight, "--frozen-exclude", "query");
    expect(readdirSync(cache)).toHaveLength(1);
    const every = await logits(at("model"), ...eight);
    for (const held of [excluded, every]) {
      expect(held).not.toEqual(exact);
      expectNear(held, exact, 0.05);
    }
    expect(excluded).not.toEqual(every);
  });

  it("leaves an adapter that is merged onto the float32 weights", async () => {
    const adapter = ["--adapter", at("eight-run")];
    await train(at("eight-run"), "--frozen", "int8");
    const merged = await run("merge", "--model", at("model"), ...adapter, "--out", at("eight-merged"));
    expect(merged.code, merged.stderr).toBe(0);
    // Float32's own rounding: eight bits would be off in the second or third digit.
    expectNear(await logits(at("eight-merged")), await logits(at("model"), ...adapter), 1e-5);
  });
});
