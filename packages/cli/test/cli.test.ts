import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { registeredMethods } from "@peftjs/bench";
import { openSafetensors } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { run } from "./run.ts";
import { jsonl, workspace } from "./workspace.ts";

const methods = registeredMethods()
  .list()
  .map(({ name }) => name);

const at = workspace();
const common = ["--threads", "1", "--learning-rate", "0.02", "--epochs", "6", "--seed", "1"];

describe("train, eval, predict, merge", () => {
  it("learns, and every later command sees the same model", async () => {
    const out = at("adapter");
    const trained = await run(
      "train",
      "--model",
      at("model"),
      "--data",
      at("train.jsonl"),
      "--eval",
      at("dev.jsonl"),
      "--method",
      "lora",
      "--rank",
      "4",
      "--alpha=8",
      "--target-modules",
      "query,value",
      "--out",
      out,
      "--json",
      ...common,
    );
    expect(trained.stderr).not.toContain("error");
    expect(trained.code).toBe(0);
    const summary = JSON.parse(trained.stdout) as { metrics: Record<string, number>; labels: string[]; steps: number };
    expect(summary).toMatchObject({ labels: ["negative", "positive"], steps: 18 });
    expect(summary.metrics["accuracy"]).toBe(1);
    expect(readdirSync(out).sort()).toEqual([
      "README.md",
      "adapter_config.json",
      "adapter_model.safetensors",
      "peftjs.json",
    ]);
    expect(JSON.parse(readFileSync(join(out, "adapter_config.json"), "utf8"))).toMatchObject({
      peft_type: "LORA",
      r: 4,
      lora_alpha: 8,
      target_modules: ["query", "value"],
    });

    const scored = await run(
      "eval",
      "--model",
      at("model"),
      "--adapter",
      out,
      "--data",
      at("dev.jsonl"),
      "--batch-size",
      "16",
      "--json",
    );
    expect(JSON.parse(scored.stdout)).toEqual({ rows: 12, ...summary.metrics });

    const predicted = await run(
      "predict",
      "--model",
      at("model"),
      "--adapter",
      out,
      "--data",
      at("dev.jsonl"),
      "--json",
    );
    const lines = predicted.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { label: string; logits: number[] });
    expect(lines).toHaveLength(12);
    lines.forEach(({ label, logits }, i) => {
      expect(label).toBe(i % 2 === 0 ? "positive" : "negative");
      expect(logits).toHaveLength(2);
      expect(logits[1]! > logits[0]!).toBe(i % 2 === 0);
    });

    expect((await run("merge", "--model", at("model"), "--adapter", out, "--out", at("merged"))).code).toBe(0);
    const merged = await run("predict", "--model", at("merged"), "--data", at("dev.jsonl"), "--json");
    merged.stdout
      .trim()
      .split("\n")
      .forEach((line, i) => {
        (JSON.parse(line) as { logits: number[] }).logits.forEach((logit, j) => {
          expect(logit).toBeCloseTo(lines[i]!.logits[j]!, 5);
        });
      });
  });

  it("trains with plug-ins, from flags over a file, and resumes them", async () => {
    const folder = at("steered-run");
    writeFileSync(
      at("steered.yaml"),
      "method: lora\nuse: [ist, attention-rates]\nistInterval: 9\nattentionRatesLambda: 2\n",
    );
    const flags = [
      "--config",
      at("steered.yaml"),
      "--ist-interval",
      "2",
      "--threads",
      "1",
      "--epochs",
      "2",
      "--seed",
      "1",
    ];
    const args = (out: string, ...more: readonly string[]): readonly string[] => [
      ...["train", "--model", at("model"), "--data", at("train.jsonl"), "--out", at(out)],
      ...[...flags, ...more],
    ];
    const { code, stderr } = await run(...args("steered", "--checkpoints", folder));
    expect(stderr).not.toContain("error");
    expect(code).toBe(0);
    // Six steps: importance is compared before the third and the fifth.
    const records = readFileSync(join(folder, "log.jsonl"), "utf8")
      .split("\n")
      .filter((line) => line.includes('"losses"'));
    expect(records).toHaveLength(2);
    expect(readdirSync(join(folder, "plugins"))).not.toHaveLength(0);
    expect(stderr).toContain(`Reports of ist: ${join(folder, "plugins")}`);
    const other = ["train", "--model", at("model"), "--config", at("steered.yaml"), "--use", "rst"];
    expect((await run(...other)).stderr).toMatch(/\[PLUGIN_UNUSED\].*"ist".*Add --use ist/);
    const again = await run(...args("steered-on", "--checkpoints", folder, "--resume"));
    expect(again.code).toBe(0);
    const weights = (out: string): Buffer => readFileSync(join(at(out), "adapter_model.safetensors"));
    expect(weights("steered-on").equals(weights("steered"))).toBe(true);
  });

  it("reads the configuration file, and the command line wins over it", async () => {
    const config = at("run.yaml");
    writeFileSync(
      config,
      `model: ${at("model")}\ndata: ${at("train.jsonl")}\nmethod: lora\nrank: 3\nbias: lora_only\ntargetModules: value\nepochs: 1\nthreads: 1\n`,
    );
    const { code } = await run(
      "train",
      "--config",
      config,
      "--rank",
      "2",
      "--out",
      at("from-config"),
      "--target-modules",
      "all-linear",
      "--layers-to-transform",
      "1",
    );
    expect(code).toBe(0);
    expect(JSON.parse(readFileSync(join(at("from-config"), "adapter_config.json"), "utf8"))).toMatchObject({
      r: 2,
      bias: "lora_only",
      layers_to_transform: 1,
    });
    const file = await openSafetensors(join(at("from-config"), "adapter_model.safetensors"));
    expect(file.names.filter((name) => name.endsWith("lora_A.weight"))).toHaveLength(6);
    await file.close();
  });

  it("looks at the training rows for a method that needs data, and takes a method's option whose name is taken by its own", async () => {
    const data = ["--model", at("model"), "--data", at("train.jsonl"), "--max-steps", "2", "--threads", "1"];
    const explained = ["--method", "eva", "--rank", "2", "--out", at("eva")];
    const trained = await run("train", ...data, ...explained);
    expect(trained.code, trained.stderr).toBe(0);
    const config = at("budget.yaml");
    writeFileSync(config, "method: adalora\nbeta1: 0.8\nadaloraBeta1: 0.7\n");
    const allocated = await run("train", ...data, "--config", config, "--adalora-beta2", "0.6", "--out", at("budget"));
    expect(allocated.code, allocated.stderr).toBe(0);
    expect(JSON.parse(readFileSync(join(at("budget"), "adapter_config.json"), "utf8"))).toMatchObject({
      beta1: 0.7,
      beta2: 0.6,
    });
    expect((await run("methods", "adalora")).stdout).toMatch(/--adalora-beta1 +/);
  });

  it.each(methods)("%s: trains a regression and predicts its values", async (method) => {
    const out = at(`regression-${method}`);
    const trained = await run(
      "train",
      "--model",
      at("model"),
      "--data",
      at("values.csv"),
      "--eval",
      at("values.csv"),
      "--method",
      method,
      "--out",
      out,
      "--json",
      ...common,
    );
    expect(trained.code, trained.stderr).toBe(0);
    const { metrics } = JSON.parse(trained.stdout) as { metrics: Record<string, number> };
    expect(Object.keys(metrics)).toContain("pearson");
    const scored = await run(
      "eval",
      "--model",
      at("model"),
      "--adapter",
      out,
      "--data",
      at("values.csv"),
      "--batch-size",
      "16",
      "--json",
    );
    const { rows, ...again } = JSON.parse(scored.stdout) as Record<string, number>;
    expect(rows).toBe(48);
    expect(Object.keys(again)).toEqual(Object.keys(metrics));
    // Some methods write the same function in another form, which rounds otherwise. p-tuning's file has the table that its encoder came
    // to, computed by another library than in training: a correlation of predictions so close together moves by 3e-6.
    const digits = method === "p-tuning" ? 5 : 6;
    for (const [metric, value] of Object.entries(again)) expect(value).toBeCloseTo(metrics[metric]!, digits);
    const predicted = await run(
      "predict",
      "--model",
      at("model"),
      "--adapter",
      out,
      "--data",
      at("values.csv"),
      "--json",
    );
    const first = JSON.parse(predicted.stdout.split("\n")[0]!) as { label: number; logits: number[] };
    expect(first.logits).toEqual([first.label]);
  });

  it("takes over a trained model's order of labels", async () => {
    writeFileSync(
      at("few.jsonl"),
      jsonl([
        { text: "good", label: "positive" },
        { text: "film", label: "positive" },
      ]),
    );
    await run(
      "train",
      "--model",
      at("merged"),
      "--data",
      at("few.jsonl"),
      "--out",
      at("again"),
      "--epochs",
      "1",
      "--threads",
      "1",
    );
    expect(JSON.parse(readFileSync(join(at("again"), "peftjs.json"), "utf8"))).toMatchObject({
      labels: ["negative", "positive"],
    });
  });
});
