import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { consoleLogger, jsonlLogger } from "../index.ts";
import type { EvaluateEvent, StepEvent } from "../index.ts";

const folder = mkdtempSync(join(tmpdir(), "peftjs-log-"));
afterAll(() => rm(folder, { recursive: true }));

const step = (number: number): StepEvent => ({
  step: number,
  totalSteps: 4,
  epoch: number / 2,
  loss: 0.1 + 0.2,
  gradNorm: 1,
  learningRate: 1e-3,
  milliseconds: 5,
});
const evaluation: EvaluateEvent = {
  step: 2,
  epoch: 1,
  metrics: { loss: 0.5, accuracy: 0.75 },
  best: true,
  milliseconds: 3,
};

describe("jsonlLogger", () => {
  it("writes numbers as they are, and on resume drops what lies after the checkpoint", () => {
    const path = join(folder, "deep", "log.jsonl");
    const first = jsonlLogger(path);
    first.start?.({ resumedFrom: 0, totalSteps: 4 });
    for (const number of [1, 2, 3]) first.step?.(step(number));
    first.end?.({ step: 3, reason: "aborted" });
    writeFileSync(path, `${readFileSync(path, "utf8")}{"type":"step","ste`);
    const second = jsonlLogger(path);
    second.start?.({ resumedFrom: 2, totalSteps: 4 });
    second.step?.(step(3));
    second.evaluate?.(evaluation);
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
      [1, 2, 3].map((n) => ({ type: "step", ...step(n) })).concat([{ type: "evaluate", ...evaluation } as never]),
    );
    expect(lines[0]).toContain('"loss":0.30000000000000004');
  });
});

describe("consoleLogger", () => {
  const run = (isTTY: boolean, penalty?: number): string => {
    const stream = Object.assign(new PassThrough(), {
      isTTY,
      columns: 120,
      cursorTo: () => true,
      clearLine: () => true,
      moveCursor: () => true,
    });
    const logger = consoleLogger({ stream: stream as unknown as NodeJS.WriteStream });
    logger.start?.({ resumedFrom: 1, totalSteps: 4 });
    logger.step?.({ ...step(2), ...(penalty === undefined ? {} : { penalty }) });
    logger.evaluate?.(evaluation);
    logger.end?.({ step: 2, reason: "earlyStop" });
    return (stream.read() as Buffer).toString();
  };

  it("prints lines and no control characters where there is no terminal", () => {
    expect(run(false)).toBe(
      "Resumed after step 1.\nstep 2 (epoch 1.00) loss 0.5000, accuracy 0.7500 best\nStopped early after 2 steps.\n",
    );
  });

  it("draws a bar on a terminal", () => {
    expect(stripVTControlCharacters(run(true))).toMatch(/█+░* \d\/4 · loss/u);
    expect(stripVTControlCharacters(run(true, 0.25))).toContain("loss 0.3000 (penalty 0.2500) · lr");
  });
});
