import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { HostTensor, Named, PeftModel } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";
import { tol } from "../close.ts";
import { compareAllClose } from "../matchers.ts";
import type { Setting } from "./outputs.ts";
import { attached, lossProgram, perturbed, train, type LossProgram } from "./run.ts";
import { batchAt } from "./subjects.ts";

const STEPS = 5;
/** Elements per parameter that finite differences look at. */
const PROBES = 3;

/** Memory, and the first losses of a seeded run. */
export function checkTraining(setting: Setting & { readonly caseName: string }): void {
  const { suite, subject, family, engine, caseName } = setting;

  it("the first losses of a seeded run are the recorded ones", async () => {
    const model = await attached(subject, { family, engine: engine() });
    const losses = await train(model, { family, engine: engine(), steps: STEPS });
    const { pass, message } = compareAllClose(
      losses,
      recorded(suite.golden, `${caseName}/${family}`, losses),
      tol.deep,
    );
    expect(pass, message()).toBe(true);
  });

  it("keeps the number of tensors, step after step", async () => {
    const model = await attached(subject, { family, engine: engine() });
    await train(model, { family, engine: engine(), steps: 1 });
    const before = tf.memory().numTensors;
    await train(model, { family, engine: engine(), steps: 3 });
    expect(tf.memory().numTensors).toBe(before);
  });
}

/** The backward pass against finite differences of the loss. */
export function checkDerivatives({ suite, subject, family, engine }: Setting): void {
  it("gradients are the derivatives of the loss", async () => {
    const config = { ...subject.config, ...suite.differentiable };
    const model = await perturbed({ ...subject, config }, { family, engine: engine() });
    const program = lossProgram(model, engine());
    await checkGradients(model, program, batchAt(family, 0));
    await program.dispose();
  });
}

/** A compiled step gives what the eager step gives. */
export function checkEnginesAgree({
  subject,
  family,
  engines,
}: Pick<Setting, "subject" | "family"> & { readonly engines: () => readonly [Engine, Engine] }): void {
  it("the compiled step equals the eager one", async () => {
    const [first, second] = await Promise.all(
      engines().map(async (engine) => {
        const model = await perturbed(subject, { family, engine });
        // Not AdamW: it makes a whole step of a gradient that is rounding alone.
        const losses = await train(model, { family, engine, steps: 3, config: { optimizer: "sgd" } });
        return { losses, values: model.trainable() };
      }),
    );
    expectClose(first?.losses ?? [], second?.losses ?? []);
    expect(Object.keys(first?.values ?? {})).toEqual(Object.keys(second?.values ?? {}));
    for (const [name, tensor] of Object.entries(first?.values ?? {})) {
      const { pass, message } = compareAllClose(tensor, second?.values[name] as HostTensor, tol.deep);
      expect(pass, `${name}: ${message()}`).toBe(true);
    }
  });
}

/** Central differences of the loss along single elements, against the gradient. */
async function checkGradients(model: PeftModel, program: LossProgram, batch: Named<HostTensor>): Promise<void> {
  const { gradients } = await program.run(batch);
  const lossAt = async (name: string, index: number, offset: number): Promise<number> => {
    const tensor = model.trainable()[name] as HostTensor;
    const data = tensor.data.slice() as Float32Array;
    data[index] = (data[index] as number) + offset;
    model.setTrainable({ [name]: { ...tensor, data } as HostTensor });
    const { loss } = await program.run(batch);
    model.setTrainable({ [name]: tensor });
    return loss;
  };
  for (const [name, gradient] of Object.entries(gradients)) {
    for (const index of largest(gradient.data, PROBES)) {
      const step = 1e-2;
      const numeric = ((await lossAt(name, index, step)) - (await lossAt(name, index, -step))) / (2 * step);
      const { pass, message } = compareAllClose([gradient.data[index] as number], [numeric], tol.finiteDifference);
      expect(pass, `${name}[${index}]: ${message()}`).toBe(true);
    }
  }
}

function largest(values: ArrayLike<number>, count: number): number[] {
  const indices = Array.from(values, (_, index) => index);
  return indices.sort((a, b) => Math.abs(values[b] as number) - Math.abs(values[a] as number)).slice(0, count);
}

/** The committed losses under `key`; with PEFTJS_UPDATE_GOLDEN=1 the given ones are written there first. */
function recorded(file: URL, key: string, losses: readonly number[]): readonly number[] {
  const all = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Record<string, readonly number[]>) : {};
  if (process.env["PEFTJS_UPDATE_GOLDEN"] === "1" && all[key] === undefined) {
    all[key] = losses.map((loss) => Number(loss.toPrecision(7)));
    writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`);
  }
  const found = all[key];
  if (found === undefined)
    throw new Error(`${file.pathname} has no losses for "${key}". Run with PEFTJS_UPDATE_GOLDEN=1.`);
  return found;
}

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  const { pass, message } = compareAllClose(actual, expected, tol.deep);
  expect(pass, message()).toBe(true);
}
