import { registeredMethods, registeredPlugins } from "@peftjs/bench";
import { describe, expect, it } from "vitest";
import { run } from "./run.ts";

describe("methods", () => {
  it("lists methods and plug-ins with package and description", async () => {
    const { stdout } = await run("methods", "--json");
    const rows = JSON.parse(stdout) as Record<string, string>[];
    const namesOf = (kind: string): unknown[] => rows.filter((row) => row["kind"] === kind).map((row) => row["name"]);
    expect(namesOf("method")).toEqual(
      registeredMethods()
        .list()
        .map(({ name }) => name),
    );
    expect(namesOf("plug-in")).toEqual(registeredPlugins().map(({ name }) => name));
    for (const row of rows) expect(Object.keys(row)).toEqual(["name", "kind", "package", "description"]);
  });

  it("lists one method's flags", async () => {
    const { stdout } = await run("methods", "lora");
    expect(stdout).toMatch(/--rank +Rank r of the update\. \(default: 8\)/);
  });

  it("lists one plug-in's flags, and has near misses of both", async () => {
    const { stdout } = await run("methods", "ist");
    expect(stdout).toMatch(/--ist-interval +Optimizer steps T .* \(default: 10\)/);
    expect((await run("methods", "galroe")).stderr).toMatch(/\[METHOD_UNKNOWN\].*Did you mean "galore"/);
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

  it("says in every command that reads a base how it can be held", async () => {
    for (const command of ["train", "eval", "predict", "kernels"]) {
      const { stdout } = await run(command, "--help");
      const flags = [...stdout.matchAll(/--frozen[\w-]*(?= <value>)/gu)].map(([flag]) => flag);
      const backward = command === "train" || command === "kernels" ? ["--frozen-backward"] : [];
      expect(flags).toEqual(["--frozen", "--frozen-embeddings", "--frozen-exclude", ...backward, "--frozen-cache"]);
    }
    expect((await run("merge", "--help")).stdout).not.toMatch(/--frozen </u);
  });

  it("shows the options of the chosen plug-ins", async () => {
    const { stdout } = await run("train", "--use", "ist,attention-rates", "--use=galore", "--help");
    for (const flag of ["--ist-interval", "--attention-rates-lambda", "--galore-rank"]) expect(stdout).toContain(flag);
    expect(stdout).not.toContain("--rst-");
    expect((await run("train", "--help")).stdout).not.toContain("--ist-");
  });
});
