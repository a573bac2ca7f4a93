import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { registeredMethods } from "@peftjs/bench";
import { openSafetensors } from "@peftjs/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "./run.ts";
import { writeTinyModel } from "./tinyModel.ts";

const methods = registeredMethods()
  .list()
  .map(({ name }) => name);

let folder: string;
const at = (name: string): string => join(folder, name);
const jsonl = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "peftjs-cli-"));
  await writeTinyModel(at("model"));
  const rows = Array.from({ length: 48 }, (_, i) => ({
    text: `${i % 2 === 0 ? "good" : "bad"} film ${"abcdef"[i % 6]!}`,
    label: i % 2 === 0 ? "positive" : "negative",
  }));
  writeFileSync(at("train.jsonl"), jsonl(rows));
  writeFileSync(at("dev.jsonl"), jsonl(rows.slice(0, 12)));
  writeFileSync(
    at("values.csv"),
    `text,label\n${rows.map(({ text, label }) => `${text},${label === "positive" ? 0.5 : -0.25}`).join("\n")}\n`,
  );
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

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

  it("holds weights as --dtype says", async () => {
    const [model, data] = [
      ["--model", at("model")],
      ["--data", at("dev.jsonl")],
    ];
    const logits = async (adapter: string, ...dtype: readonly string[]): Promise<number[]> => {
      const { code, stdout } = await run("predict", ...model, ...data, "--adapter", adapter, "--json", ...dtype);
      expect(code).toBe(0);
      return stdout
        .trim()
        .split("\n")
        .flatMap((line) => (JSON.parse(line) as { logits: number[] }).logits);
    };
    const out = at("half");
    const flags = [...common, "--epochs", "1", "--dtype", "bfloat16", "--out", out];
    expect((await run("train", ...model, ...data, ...flags)).code).toBe(0);
    const [wide, half] = [await logits(out), await logits(out, "--dtype", "bfloat16")];
    expect(half).not.toEqual(wide);
    half.forEach((logit, i) => expect(Math.abs(logit - wide[i]!)).toBeLessThan(0.05));
    expect(await logits(out, "--dtype", "auto")).toEqual(wide);
    const refused = await run("train", ...model, ...data, "--out", at("none"), "--dtype", "int8");
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringMatching(/dtype/u)]);
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
    // Methods may write the same function in another form, which rounds otherwise.
    for (const [metric, value] of Object.entries(again)) expect(value).toBeCloseTo(metrics[metric]!, 6);
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

describe("methods", () => {
  it("lists name, package and description", async () => {
    const { stdout } = await run("methods", "--json");
    const rows = JSON.parse(stdout) as Record<string, string>[];
    expect(rows.map((row) => row["name"])).toEqual(methods);
    for (const row of rows) expect(Object.keys(row)).toEqual(["name", "package", "description"]);
  });

  it("lists one method's flags", async () => {
    const { stdout } = await run("methods", "lora");
    expect(stdout).toMatch(/--rank +Rank r of the update\. \(default: 8\)/);
  });
});

describe("bad input", () => {
  const train = (...args: string[]): string[] => [
    "train",
    "--model",
    at("model"),
    "--data",
    at("train.jsonl"),
    "--out",
    at("none"),
    ...args,
  ];
  const write = (name: string, rows: readonly object[]): string => {
    writeFileSync(at(name), jsonl(rows));
    return at(name);
  };

  it.each<[string, string, RegExp, () => string[]]>([
    ["a model folder that is not there", "FILE_NOT_FOUND", /nowhere/, () => train("--model", at("nowhere"))],
    ["a data file that is not there", "DATA_NOT_FOUND", /nowhere\.jsonl/, () => train("--data", at("nowhere.jsonl"))],
    [
      "a row without text",
      "DATA_ROW_INVALID",
      /textless\.jsonl:2: .*no text/,
      () => train("--data", write("textless.jsonl", [{ text: "a", label: "x" }, { label: "x" }])),
    ],
    [
      "a label the training rows do not have",
      "DATA_ROW_INVALID",
      /unknown\.jsonl:1: Unknown label "positiv"\. Did you mean "positive"/,
      () => train("--eval", write("unknown.jsonl", [{ text: "a", label: "positiv" }])),
    ],
    ["an unknown method", "METHOD_UNKNOWN", /Did you mean "lora"/, () => train("--method", "lroa", "--rank", "4")],
    ["an unknown target", "TARGET_NOT_FOUND", /Did you mean "query"/, () => train("--target-modules", "qeury")],
    ["an unknown option", "USAGE", /Did you mean --rank/, () => train("--rnak", "4")],
    ["an unknown command", "USAGE", /Did you mean train/, () => ["tarin"]],
    ["a setting of the wrong type", "CONFIG_INVALID", /rank/, () => train("--rank", "many")],
    ["a training option out of range", "CONFIG_INVALID", />0\s+→ at epochs/, () => train("--epochs", "-1")],
    ["an option left out", "OPTION_MISSING", /--data/, () => ["train", "--model", at("model"), "--out", at("none")]],
    [
      "a number of labels that the model contradicts",
      "LABEL_COUNT_MISMATCH",
      /--new-head/,
      () =>
        train(
          "--model",
          at("merged"),
          "--data",
          write(
            "three.jsonl",
            ["x", "y", "z"].map((label) => ({ text: "a", label })),
          ),
        ),
    ],
    [
      "rows of one label",
      "LABELS_TOO_FEW",
      /--labels/,
      () => train("--data", write("one.jsonl", [{ text: "a", label: "x" }])),
    ],
    [
      "a model without a trained head",
      "HEAD_MISSING",
      /--adapter/,
      () => ["predict", "--model", at("model"), "--data", at("dev.jsonl")],
    ],
    ["an output folder that is in use", "OUT_EXISTS", /--overwrite/, () => train("--out", at("model"))],
    [
      "a configuration file with an unknown key",
      "CONFIG_INVALID",
      /"rnak"\. Did you mean "rank"/,
      () => {
        writeFileSync(at("typo.yaml"), "rnak: 3\n");
        return train("--config", at("typo.yaml"));
      },
    ],
  ])("%s", async (_, code, message, args) => {
    const before = readdirSync(folder).sort();
    const list = args();
    const written = readdirSync(folder).filter((name) => !before.includes(name));
    const outcome = await run(...list);
    expect(outcome.stderr).toMatch(new RegExp(`^error \\[${code}\\] `, "m"));
    expect(outcome.stderr).toMatch(message);
    expect(outcome.stderr).not.toMatch(/\n {4}at /);
    expect(outcome.code).toBe(2);
    expect(outcome.stdout).toBe("");
    expect(existsSync(at("none"))).toBe(false);
    expect(readdirSync(folder).sort()).toEqual([...before, ...written].sort());
  });
});

describe("help", () => {
  it("shows the options of the chosen method", async () => {
    const lora = await run("train", "--help");
    expect(lora.code).toBe(0);
    expect(lora.stdout).toContain("--rank-pattern <value>");
    const head = await run("train", "--method", "head", "--help");
    expect(head.stdout).not.toContain("--rank ");
    expect(head.stdout).toContain("--learning-rate <value>");
  });
});
