import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cloneTensor, peft } from "@peftjs/core";
import type { HostTensor, Named, PeftModel } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sgd, Stepper, Trainer } from "../src/index.ts";
import type { StepEvent, StepperOptions, TrainingConfigInput } from "../src/index.ts";
import { expectClose } from "./close.ts";
import { linearModel, tracked } from "./linearModel.ts";
import type { Seen } from "./linearModel.ts";
import { tinyBatch, tinyEvaluation, tinyPlan } from "./tinyModel.ts";

const A = "default.classifier.a";
const AVERAGE = "default.classifier.average";
const ZEROED = "default.classifier.zeroed";

const root = mkdtempSync(join(tmpdir(), "peftjs-tracking-"));
let folders = 0;
const folder = (): string => join(root, String(folders++));
afterAll(() => rm(root, { recursive: true }));

const numbers = (tensors: Named<HostTensor>, name: string): number[] => Array.from(tensors[name]?.data ?? []);
const clone = (tensors: Named<HostTensor>): Named<HostTensor> =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, cloneTensor(tensor)]));

/** The halves of a batch. */
function halves(batch: Named<HostTensor>): Named<HostTensor>[] {
  return [0, 1].map((half) =>
    Object.fromEntries(
      Object.entries(batch).map(([name, { data, shape, dtype }]) => {
        const size = data.length / 2;
        const part = data.slice(half * size, (half + 1) * size);
        return [name, { dtype, shape: [(shape[0] as number) / 2, ...shape.slice(1)], data: part } as HostTensor];
      }),
    ),
  );
}

describe.each(["eager", "onnx"] as const)("tracked state (%s)", (kind) => {
  let engine: Engine;
  beforeAll(
    async () => void (engine = await createEngine(kind === "eager" ? { kind, backend: "cpu" } : { kind, threads: 1 })),
  );
  const attach = (seen?: Seen, config = {}): Promise<PeftModel> =>
    peft(linearModel()).use(tracked(seen), config).apply();

  const train = async (config: TrainingConfigInput, signal?: { readonly stopAfter: number }) => {
    const model = await attach(undefined, { dropout: 0.2 });
    const controller = new AbortController();
    const steps: StepEvent[] = [];
    const trainer = new Trainer({
      model,
      engine,
      train: tinyPlan(),
      evaluation: tinyEvaluation(),
      config: { learningRate: 0.05, maxSteps: 12, evalEvery: 4, saveEvery: 5, ...config },
      signal: controller.signal,
    });
    trainer.on("step", (event) => {
      steps.push(event);
      if (event.step === signal?.stopAfter) controller.abort();
    });
    const bests: Named<HostTensor>[] = [];
    trainer.on("evaluate", ({ best }) => void (best && bests.push(clone({ ...model.trainable(), ...model.state() }))));
    try {
      const result = await trainer.train();
      return { model, result, bests, losses: steps.map(({ loss }) => loss) };
    } finally {
      await trainer.dispose();
    }
  };

  it("is computed from updated parameters and clipped gradients, before afterStep, however the step is made", async () => {
    const learningRate = 0.5;
    const variants: (Partial<StepperOptions> & { readonly micro?: boolean })[] = [
      {},
      { joinedSize: 0 },
      { joinedSize: 2 },
      { wholeSize: 0 },
      { wholeSize: 0, joinedSize: 0 },
      { micro: true },
      { micro: true, wholeSize: 0 },
    ];
    for (const maxGradNorm of [null, 0.1]) {
      for (const { micro = false, ...sizes } of variants) {
        const seen: Seen = { gradients: [], afterSteps: [] };
        const model = await attach(seen);
        const options = { model, engine, optimizer: sgd(), maxGradNorm, seed: 0, totalSteps: 4, ...sizes };
        const stepper = new Stepper(options);
        let average = Array<number>(18).fill(0);
        for (let step = 1; step <= 2; step++) {
          const before = numbers(model.trainable(), A);
          const batches = micro ? halves(tinyBatch(step)) : [tinyBatch(step)];
          await stepper.step({ batches, firstBatch: step, step, learningRate });
          const after = numbers(model.trainable(), A);
          // Of plain gradient descent the clipped gradient is (before − after) / rate.
          average = average.map(
            (value, i) =>
              0.75 * value + 0.25 * Math.abs(((before[i]! - after[i]!) / learningRate) * (after[i] as number)),
          );
          expectClose(numbers(model.state(), AVERAGE), average, 1e-5);
          expect(seen.afterSteps.at(-1)).toEqual({ step, totalSteps: 4, average: numbers(model.state(), AVERAGE) });
        }
        expect(Math.max(...average)).toBeGreaterThan(1e-3);
        expect(new Set(seen.gradients.flat())).toEqual(new Set(["a"]));
        await stepper.dispose();
      }
    }
  });

  it("is in the checkpoints, and a resumed run goes on with it", async () => {
    const config = { loadBest: false } as const;
    const whole = await train({ ...config, outputDir: folder() });
    const outputDir = folder();
    const part = await train({ ...config, outputDir }, { stopAfter: 7 });
    expect(part.result.reason).toBe("aborted");
    const rest = await train({ ...config, outputDir, resume: true });
    expect([...part.losses, ...rest.losses]).toEqual(whole.losses);
    expect(rest.model.trainable()).toEqual(whole.model.trainable());
    expect(rest.model.state()).toEqual(whole.model.state());
    expect(numbers(whole.model.state(), ZEROED)).toEqual([4]);
  });

  it("comes back with the parameters of the best evaluation", async () => {
    for (const outputDir of [null, folder()]) {
      // Too fast to improve for long.
      const { model, result, bests } = await train({ learningRate: 20, schedule: "constant", evalEvery: 1, outputDir });
      expect(result.best?.step).toBeLessThan(result.steps);
      expect({ ...model.trainable(), ...model.state() }).toEqual(bests.at(-1));
    }
  });

  it("is refused where it is missing", async () => {
    const model = await attach();
    const stepper = new Stepper({ model, engine, optimizer: sgd(), maxGradNorm: null, seed: 0 });
    expect(() => stepper.restore({ trainable: model.trainable(), optimizer: {}, state: {} })).toThrow(
      expect.objectContaining({
        code: "RESUME_MISMATCH",
        message: expect.stringContaining(
          "method state do not fit the model: missing default.classifier.average [3, 6]",
        ),
      }) as Error,
    );
    await stepper.dispose();
  });
});

describe("the state of a model", () => {
  it("is that of the adapters that learn", async () => {
    const model = await peft(linearModel()).use(tracked()).use(tracked(), {}, { name: "second" }).apply();
    expect(model.tracks).toBe(true);
    expect(Object.keys(model.state())).toEqual([
      AVERAGE,
      ZEROED,
      "second.classifier.average",
      "second.classifier.zeroed",
    ]);
    model.setActive(["default", "second"], { trainable: ["second"] });
    expect(Object.keys(model.state())).toEqual(["second.classifier.average", "second.classifier.zeroed"]);
    expect(() => model.setState({ [AVERAGE]: { dtype: "float32", shape: [1], data: new Float32Array(1) } })).toThrow(
      expect.objectContaining({ code: "STATE_UNKNOWN" }) as Error,
    );
    const wrong: HostTensor = { dtype: "float32", shape: [2], data: new Float32Array(2) };
    expect(() => model.setState({ "second.classifier.zeroed": wrong })).toThrow(
      expect.objectContaining({ code: "SHAPE_MISMATCH" }) as Error,
    );
    model.setActive([]);
    expect(model.tracks).toBe(false);
    expect(model.state()).toEqual({});
  });
});
