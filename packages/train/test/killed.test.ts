import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";

const root = mkdtempSync(join(tmpdir(), "peftjs-killed-"));
afterAll(() => rm(root, { recursive: true }));

const node = ["--import", "tsx", "--conditions=@peftjs/source", fileURLToPath(new URL("run.ts", import.meta.url))];

interface Line {
  readonly type: string;
  readonly step: number;
  readonly loss: number;
}

function steps(outputDir: string): Line[] {
  const path = join(outputDir, "log.jsonl");
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line.endsWith("}"))
    .map((line) => JSON.parse(line) as Line)
    .filter(({ type }) => type === "step");
}

/** Starts a slow run and kills it as soon as it has logged `step`. */
async function killAfter(kind: string, outputDir: string, step: number): Promise<void> {
  const child = spawn(process.execPath, [...node, kind, outputDir, "--slow"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once("exit", (_code, signal) => resolve(signal)));
  const watch = setInterval(() => {
    if (steps(outputDir).length >= step) child.kill("SIGKILL");
  }, 5);
  const signal = await ended;
  clearInterval(watch);
  expect(signal).toBe("SIGKILL");
}

describe.each(["eager", "onnx"])("a run that is killed (%s)", (kind) => {
  it("goes on with the same losses, bit by bit", async () => {
    const whole = join(root, `${kind}-whole`);
    const killed = join(root, `${kind}-killed`);
    await promisify(execFile)(process.execPath, [...node, kind, whole]);
    await killAfter(kind, killed, 2); // before the first checkpoint
    await killAfter(kind, killed, 14);
    const atKill = steps(killed).length;
    expect(atKill).toBeGreaterThanOrEqual(14);
    expect(atKill).toBeLessThan(30);
    await promisify(execFile)(process.execPath, [...node, kind, killed]);

    const expected = steps(whole);
    expect(expected).toHaveLength(30);
    expect(steps(killed).map(({ step, loss }) => ({ step, loss }))).toEqual(
      expected.map(({ step, loss }) => ({ step, loss })),
    );
    for (const file of ["trainable", "optimizer", "method_state"]) {
      const last = `checkpoints/step-30/${file}.safetensors`;
      expect(readFileSync(join(killed, last)).equals(readFileSync(join(whole, last)))).toBe(true);
    }
    expect(readdirSync(join(killed, "checkpoints")).filter((name) => name.endsWith(".draft"))).toEqual([]);
  }, 240_000); // five processes start one after the other
});
