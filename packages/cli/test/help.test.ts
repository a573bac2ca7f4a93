import { registeredMethods } from "@peftjs/bench";
import { describe, expect, it } from "vitest";
import { run } from "./run.ts";

describe("methods", () => {
  it("lists name, package and description", async () => {
    const { stdout } = await run("methods", "--json");
    const rows = JSON.parse(stdout) as Record<string, string>[];
    expect(rows.map((row) => row["name"])).toEqual(
      registeredMethods()
        .list()
        .map(({ name }) => name),
    );
    for (const row of rows) expect(Object.keys(row)).toEqual(["name", "package", "description"]);
  });

  it("lists one method's flags", async () => {
    const { stdout } = await run("methods", "lora");
    expect(stdout).toMatch(/--rank +Rank r of the update\. \(default: 8\)/);
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
