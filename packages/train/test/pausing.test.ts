import { cloneTensor, float32, peft } from "@peftjs/core";
import type { HostTensor, Named, PeftModel } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { adamW, sgd, Stepper } from "../src/index.ts";
import type { StepperOptions } from "../src/index.ts";
import { added, blockModel } from "./blockModel.ts";
import { expectClose } from "./close.ts";
import { tinyBatch } from "./tinyModel.ts";

const CHOICES = [[1], [0, 2], [1, 2], [2]];
const RATE = 0.05;
const [BETA1, BETA2, EPSILON, DECAY, CLIP] = [0.9, 0.999, 1e-8, 0.1, 0.2];

const clone = (tensors: Named<HostTensor>): Record<string, HostTensor> =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, cloneTensor(tensor)]));
const bits = (tensor: HostTensor | undefined): number[] => [
  ...new Uint32Array((tensor as HostTensor).data.slice().buffer as ArrayBuffer),
];
const blockOf = (name: string): number | null => {
  const found = /blocks\.(\d)/.exec(name)?.[1];
  return found === undefined ? null : Number(found);
};

/** Halves of a batch as micro-batches. */
function halves(batch: Named<HostTensor>): Named<HostTensor>[] {
  return [0, 1].map((half) =>
    Object.fromEntries(
      Object.entries(batch).map(([name, { dtype, shape, data }]) => {
        const size = data.length / 2;
        const own = [(shape[0] as number) / 2, ...shape.slice(1)];
        return [name, { dtype, shape: own, data: data.slice(half * size, (half + 1) * size) } as HostTensor];
      }),
    ),
  );
}

/** AdamW in float64 with a counter per parameter: what no gradient is given for is left alone. */
class Reference {
  readonly #moments = new Map<string, { m: Float64Array; v: Float64Array; t: number }>();

  step(params: Record<string, HostTensor>, gradients: Named<number[]>): void {
    const norm = Math.sqrt(Object.values(gradients).reduce((sum, g) => g.reduce((all, x) => all + x * x, sum), 0));
    const clip = Math.min(1, CLIP / (norm + 1e-6));
    for (const [name, gradient] of Object.entries(gradients)) {
      const size = gradient.length;
      const own = this.#moments.get(name) ?? { m: new Float64Array(size), v: new Float64Array(size), t: 0 };
      this.#moments.set(name, own);
      own.t++;
      const { data } = params[name] as HostTensor;
      gradient.forEach((raw, i) => {
        const g = raw * clip;
        own.m[i] = BETA1 * (own.m[i] as number) + (1 - BETA1) * g;
        own.v[i] = BETA2 * (own.v[i] as number) + (1 - BETA2) * g * g;
        const m = (own.m[i] as number) / (1 - BETA1 ** own.t);
        const v = (own.v[i] as number) / (1 - BETA2 ** own.t);
        data[i] = (data[i] as number) * (1 - RATE * DECAY) - (RATE * m) / (Math.sqrt(v) + EPSILON);
      });
    }
  }
}

describe.each(["eager", "onnx"] as const)("blocks that pause (%s)", (kind) => {
  let engine: Engine;
  beforeAll(
    async () => void (engine = await createEngine(kind === "eager" ? { kind, backend: "cpu" } : { kind, threads: 1 })),
  );
  const attach = (config = {}): Promise<PeftModel> => peft(blockModel()).use(added, config).apply();

  /** Whole gradients, read off a step of plain gradient descent. */
  const gradientsAt = async (values: Named<HostTensor>, step: number): Promise<Named<number[]>> => {
    const model = await attach();
    model.setTrainable(clone(values));
    const stepper = new Stepper({ model, engine, optimizer: sgd(), maxGradNorm: null, seed: 0 });
    await stepper.step({ batches: [tinyBatch(step)], firstBatch: step, step, learningRate: 1 });
    const after = model.trainable();
    await stepper.dispose();
    return Object.fromEntries(
      Object.entries(values).map(([name, { data }]) => [
        name,
        Array.from(data, (value, i) => value - ((after[name] as HostTensor).data[i] as number)),
      ]),
    );
  };

  const variants: (Partial<StepperOptions> & { readonly micro?: boolean; readonly counts?: boolean })[] = [
    {},
    { joinedSize: 0 },
    { wholeSize: 0 },
    { wholeSize: 0, joinedSize: 0 },
    { micro: true },
    { recompute: "blocks" },
    { counts: true },
    { counts: true, micro: true, wholeSize: 0, joinedSize: 8 },
  ];
  it.each(variants)("keep every bit, and the others learn as if they were alone: %o", async (variant) => {
    const { micro = false, counts = false, ...sizes } = variant;
    const model = await attach({ counts });
    const optimizer = adamW({ beta1: BETA1, beta2: BETA2, epsilon: EPSILON, weightDecay: DECAY });
    const options = { model, engine, optimizer, maxGradNorm: CLIP, seed: 0, choosesBlocks: true, ...sizes };
    const stepper = new Stepper(options);
    const reference = new Reference();
    const expected = clone(model.trainable());
    for (const [i, blocks] of CHOICES.entries()) {
      const step = i + 1;
      const before = clone({ ...model.trainable(), ...stepper.optimizerState, ...model.state() });
      const gradients = await gradientsAt(expected, step);
      const learning = Object.entries(gradients).filter(([name]) =>
        blocks.includes(blockOf(name) ?? (blocks[0] as number)),
      );
      reference.step(expected, Object.fromEntries(learning));
      const batches = micro ? halves(tinyBatch(step)) : [tinyBatch(step)];
      await stepper.step({ batches, firstBatch: step, step, learningRate: RATE, blocks });
      const after = { ...model.trainable(), ...stepper.optimizerState, ...model.state() };
      for (const [name, tensor] of Object.entries(after)) {
        const block = blockOf(name);
        const pauses = block !== null && !blocks.includes(block);
        const same = bits(tensor).join() === bits(before[name]).join();
        expect({ step, name, same }).toEqual({ step, name, same: pauses });
      }
      for (const [name, { data }] of Object.entries(expected)) expectClose(model.trainable()[name]!.data, data, 2e-4);
    }
    expect(stepper.updates).toEqual({ 0: 1, 1: 2, 2: 3 });
    await stepper.dispose();
  });

  it("are served by a few programs, whatever the choices", async () => {
    const model = await attach();
    const stepper = new Stepper({ model, engine, optimizer: adamW(), maxGradNorm: 1, seed: 0, choosesBlocks: true });
    const all = [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2], []];
    for (const [i, blocks] of [...all, ...all].entries())
      await stepper.step({ batches: [tinyBatch(i)], firstBatch: i, step: i + 1, learningRate: RATE, blocks });
    // One for each block that may be the lowest one, and one for the head alone.
    if (kind === "onnx") expect(stepper.counters.programsBuilt).toBe(4);
    expect(stepper.counters.runs).toBe(16);
    await stepper.dispose();
  });

  it("may all pause where nothing else learns", async () => {
    const model = Object.assign(await attach({ modulesToSave: [] }), { penalties: () => [tf.scalar(2)] });
    const stepper = new Stepper({ model, engine, optimizer: adamW(), maxGradNorm: 1, seed: 0, choosesBlocks: true });
    const before = clone(model.trainable());
    const step = { batches: [tinyBatch(1)], firstBatch: 0, step: 1, learningRate: RATE };
    const { loss, ...rest } = await stepper.step({ ...step, blocks: [] });
    expect(model.trainable()).toEqual(before);
    expect(rest).toEqual({ gradNorm: 0, penalty: 2 });
    expect((await stepper.step({ ...step, step: 2, blocks: [0] })).loss).toBeCloseTo(loss, 6);
    await stepper.dispose();
  });

  it("learn at the rate of the schedule and their own count when they go on", async () => {
    const model = await peft(blockModel()).use(added).apply();
    const restored = await peft(blockModel()).use(added).apply();
    const make = (own: PeftModel): Stepper =>
      new Stepper({ model: own, engine, optimizer: adamW(), maxGradNorm: null, seed: 0, choosesBlocks: true });
    const [stepper, other] = [make(model), make(restored)];
    const run = (own: Stepper, step: number, blocks: number[]): Promise<unknown> =>
      own.step({ batches: [tinyBatch(step)], firstBatch: step, step, learningRate: RATE / step, blocks });
    for (const step of [1, 2, 3]) await run(stepper, step, [step % 3]);
    const tensors = { trainable: clone(model.trainable()), optimizer: clone(stepper.optimizerState), state: {} };
    other.restore(tensors, JSON.parse(JSON.stringify(stepper.updates)) as Record<string, number>);
    for (const step of [4, 5]) {
      await run(stepper, step, [1, 2]);
      await run(other, step, [1, 2]);
    }
    for (const [name, tensor] of Object.entries(model.trainable()))
      expect(bits(restored.trainable()[name])).toEqual(bits(tensor));
    // Without the counts, the moments would be corrected as if they were new.
    const forgetful = await peft(blockModel()).use(added).apply();
    const third = make(forgetful);
    third.restore(tensors);
    for (const step of [4, 5]) await run(third, step, [1, 2]);
    expect(bits(forgetful.trainable()["default.blocks.1.up.a"])).not.toEqual(
      bits(model.trainable()["default.blocks.1.up.a"]),
    );
    await Promise.all([stepper, other, third].map((one) => one.dispose()));
  });

  it("have elements that never move where a group says so", async () => {
    for (const sizes of [{}, { joinedSize: 0 }, { wholeSize: 0 }, { wholeSize: 0, joinedSize: 0 }]) {
      const [model, plain] = [await attach(), await attach()];
      const scale = float32([0, 2, 1, 0, 1, 1], [6, 1]);
      const scaledOne = "default.blocks.1.up.a";
      const optimizer = adamW({ paramGroups: ({ name }) => (name === scaledOne ? { elementScale: scale } : {}) });
      const make = (own: PeftModel, rule: ReturnType<typeof adamW>): Stepper =>
        new Stepper({ model: own, engine, optimizer: rule, maxGradNorm: 1, seed: 0, ...sizes });
      const before = clone(model.trainable());
      const [stepper, other] = [make(model, optimizer), make(plain, adamW())];
      for (const one of [stepper, other])
        await one.step({ batches: [tinyBatch(1)], firstBatch: 0, step: 1, learningRate: RATE });
      const [start, moved, usual] = [before[scaledOne], model.trainable()[scaledOne], plain.trainable()[scaledOne]];
      moved?.data.forEach((value, i) => {
        const factor = scale.data[Math.floor(i / 6)] as number;
        const [from, to] = [start?.data[i] as number, usual?.data[i] as number];
        if (factor === 0) expect(value).toBe(from);
        expect(value).toBeCloseTo(from + factor * (to - from), 6);
        expect(to).not.toBe(from);
      });
      await stepper.dispose();
      await other.dispose();
    }
  });
});
