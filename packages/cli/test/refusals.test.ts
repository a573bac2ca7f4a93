import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { run } from "./run.ts";
import { writeTinyModel } from "./tinyModel.ts";
import { jsonl, workspace } from "./workspace.ts";

const at = workspace();

describe("bad input", () => {
  beforeAll(() => writeTinyModel(at("classifier"), { labels: ["negative", "positive"] }));

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
    ["an unknown plug-in", "PLUGIN_UNKNOWN", /Did you mean "ist"/, () => train("--use", "its")],
    ["an option of a plug-in that is not used", "PLUGIN_UNUSED", /Add --use ist/, () => train("--ist-interval", "5")],
    [
      "a plug-in's setting out of range",
      "CONFIG_INVALID",
      /"attention-rates"[^]*above 0/,
      () => train("--use", "attention-rates", "--attention-rates-lambda", "-1"),
    ],
    [
      "two plug-ins that choose blocks",
      "PLUGIN_CONFLICT",
      /"ist" and "rst" both decide/,
      () => train("--use", "ist,rst", "--threads", "1"),
    ],
    ["an unknown target", "TARGET_NOT_FOUND", /Did you mean "query"/, () => train("--target-modules", "qeury")],
    ["an unknown option", "USAGE", /Did you mean --rank/, () => train("--rnak", "4")],
    ["an unknown command", "USAGE", /Did you mean train/, () => ["tarin"]],
    ["a setting of the wrong type", "CONFIG_INVALID", /rank/, () => train("--rank", "many")],
    ["a training option out of range", "CONFIG_INVALID", />0\s+→ at epochs/, () => train("--epochs", "-1")],
    ["an unknown type of frozen weights", "CONFIG_INVALID", /"int8"[^]*at frozen/, () => train("--frozen", "int4")],
    [
      "a setting of eight bits without them",
      "CONFIG_INVALID",
      /--frozen-backward .* held in float32\. Add --frozen int8/,
      () => train("--frozen-backward", "float32"),
    ],
    [
      "a layer to exclude that is not there",
      "TARGET_NOT_FOUND",
      /"qeury".*Did you mean "query"/,
      () => train("--frozen", "int8", "--frozen-exclude", "qeury"),
    ],
    [
      "a type of frozen weights for predictions",
      "CONFIG_INVALID",
      /"int8"[^]*at frozen/,
      () => ["predict", "--model", at("model"), "--data", at("dev.jsonl"), "--frozen", "int4"],
    ],
    ["an option left out", "OPTION_MISSING", /--data/, () => ["train", "--model", at("model"), "--out", at("none")]],
    [
      "a number of labels that the model contradicts",
      "LABEL_COUNT_MISMATCH",
      /--new-head/,
      () =>
        train(
          "--model",
          at("classifier"),
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
    const before = readdirSync(at("")).sort();
    const list = args();
    const written = readdirSync(at("")).filter((name) => !before.includes(name));
    const outcome = await run(...list);
    expect(outcome.stderr).toMatch(new RegExp(`^error \\[${code}\\] `, "m"));
    expect(outcome.stderr).toMatch(message);
    expect(outcome.stderr).not.toMatch(/\n {4}at /);
    expect(outcome.code).toBe(2);
    expect(outcome.stdout).toBe("");
    expect(existsSync(at("none"))).toBe(false);
    expect(readdirSync(at("")).sort()).toEqual([...before, ...written].sort());
  });
});
