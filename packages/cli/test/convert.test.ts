import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { run } from "./run.ts";
import { workspace } from "./workspace.ts";

const at = workspace();

function peftType(folder: string): unknown {
  return (JSON.parse(readFileSync(join(at(folder), "adapter_config.json"), "utf8")) as Record<string, unknown>)[
    "peft_type"
  ];
}

const convert = (from: string, as: string, to: string) =>
  run("convert", "--model", at("model"), "--adapter", at(from), "--as", as, "--out", at(to), "--json");

async function logits(adapter: string): Promise<number[]> {
  const given = ["--model", at("model"), "--adapter", at(adapter), "--data", at("dev.jsonl")];
  const { stdout } = await run("predict", ...given, "--json", "--threads", "1");
  return stdout
    .trim()
    .split("\n")
    .flatMap((line) => (JSON.parse(line) as { logits: number[] }).logits);
}

describe("convert", () => {
  beforeAll(async () => {
    const data = ["--data", at("train.jsonl"), "--model", at("model"), "--out", at("rows")];
    const settings = [
      "--method",
      "rocoft",
      "--rank",
      "2",
      "--epochs",
      "1",
      "--learning-rate",
      "0.02",
      "--threads",
      "1",
    ];
    expect((await run("train", ...data, ...settings, "--json")).code).toBe(0);
  });

  it("writes an adapter as another type of file, and reads it back", async () => {
    const there = await convert("rows", "lora", "low-rank");
    expect(there).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(there.stdout)).toEqual({ out: at("low-rank"), from: "rocoft", as: "lora" });
    expect(peftType("low-rank")).toBe("LORA");
    const back = await convert("low-rank", "rocoft", "rows-again");
    expect(JSON.parse(back.stdout)).toEqual({ out: at("rows-again"), from: "lora", as: "rocoft" });
    expect(peftType("rows-again")).toBe("ROCOFT");
    const expected = await logits("rows");
    expect(await logits("rows-again")).toEqual(expected);
    (await logits("low-rank")).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 5));
  });

  it("says what an adapter can be written as", async () => {
    const unknown = await convert("rows", "lor", "other");
    expect(unknown.code).not.toBe(0);
    expect(unknown.stderr).toMatch(/cannot be written as "lor".*"lora".*: rocoft, lora, shira/u);
    const unread = await convert("rows", "dora", "other");
    expect(unread.code).not.toBe(0);
    expect(unread.stderr).toMatch(
      /"dora" reads .* LORA, and this one has "ROCOFT".*can be written as: rocoft, lora, shira/u,
    );
    expect((await convert("rows", "lora", "model")).stderr).toContain("--overwrite");
  });
});
