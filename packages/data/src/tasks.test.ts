import { describe, expect, it } from "vitest";
import { labelValue } from "./labels.ts";
import { listTasks, loadTask } from "./tasks.ts";

const NAMES = ["wn-supersense", "wn-hypernym3", "wn-sim", "bshift", "sotu-era4"];

describe("embedded tasks", () => {
  it("lists the five tasks", () => {
    expect(listTasks().map((task) => task.name)).toEqual(NAMES);
  });

  it.each(NAMES)("%s has its rows, and every label is known", (name) => {
    const task = loadTask(name);
    expect([task.train.length, task.dev.length, task.test.length]).toEqual([8000, 1000, 2000]);
    for (const row of [...task.train, ...task.dev, ...task.test]) {
      expect(row.text.length).toBeGreaterThan(0);
      expect(labelValue(row.label ?? "", task)).toBeDefined();
    }
    if (task.kind === "classification")
      expect(new Set(task.train.map((row) => row.label)).size).toBe(task.labels.length);
    for (const metric of task.metrics) expect(task.bagOfWords.unigrams[metric]).toBeTypeOf("number");
  });

  it.each(NAMES)("no text of %s occurs in two splits", (name) => {
    const task = loadTask(name);
    const textsOf = (rows: typeof task.train): Set<string> =>
      new Set(rows.flatMap((row) => [row.text, row.textPair ?? row.text]));
    const [train, dev, test] = [textsOf(task.train), textsOf(task.dev), textsOf(task.test)];
    expect([...test].filter((text) => dev.has(text) || train.has(text))).toEqual([]);
    expect([...dev].filter((text) => train.has(text))).toEqual([]);
  });

  it("names near misses", () => {
    expect(() => loadTask("wn-supersens")).toThrow(expect.objectContaining({ code: "TASK_NOT_FOUND" }));
    expect(() => loadTask("wn-supersens")).toThrow('Did you mean "wn-supersense"');
    expect(() => loadTask("toString")).toThrow(expect.objectContaining({ code: "TASK_NOT_FOUND" }));
  });
});
