import { cloneTensor, createGenerator, float32, zeros } from "@peftjs/core";
import type { HostTensor, Named, ParameterRule, TensorRunner } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { eagerEngine } from "@peftjs/testkit";
import type * as tf from "@tensorflow/tfjs-core";
import { GaloreConfig } from "../src/index.ts";
import { matrixRule } from "../src/matrixRule.ts";
import { projectionOf } from "../src/projection.ts";
import type { PerAxis, Projection } from "../src/projection.ts";
import { readBases, writeBases } from "../src/state.ts";

const eager = await createEngine(eagerEngine);

export interface RunOptions {
  readonly shape: readonly [number, number];
  readonly learningRate: number;
  readonly config?: Parameters<typeof GaloreConfig.parse>[0];
  readonly layout?: "out_in" | "in_out";
  readonly weight?: HostTensor;
  /** Stands in for what a refresh finds. */
  readonly basis?: (found: PerAxis<HostTensor>, step: number) => PerAxis<HostTensor>;
  readonly runner?: TensorRunner;
  /** Multiplies gradients. */
  readonly gradientScale?: number;
  /** Goes on from copies of what this one remembers. */
  readonly from?: MatrixRun;
}

/** One matrix under its rule, step by step, as a trainer goes about it. */
export class MatrixRun {
  readonly rule: ParameterRule;
  readonly projection: Projection;
  readonly config: GaloreConfig;
  weight: HostTensor;
  state: Named<HostTensor>;
  refreshes = 0;
  updates = 0;
  readonly #options: RunOptions;

  constructor(options: RunOptions) {
    const { shape, layout = "out_in", from, weight = from?.weight ?? zeros(shape) } = options;
    this.#options = options;
    this.config = GaloreConfig.parse({ svd: "exact", ...(options.config as object) });
    this.projection = projectionOf(shape, { ...this.config, layout });
    this.rule = matrixRule({ shape, layout, config: this.config });
    this.weight = weight;
    this.state = Object.fromEntries(
      Object.entries(this.rule.state).map(([slot, { shape: own, dtype }]) => [
        slot,
        from === undefined ? zeros(own, dtype) : cloneTensor(from.state[slot] as HostTensor),
      ]),
    );
    this.updates = from?.updates ?? 0;
  }

  get bases(): PerAxis<HostTensor> {
    return readBases(this.state, this.projection, this.config.basisBits);
  }

  /** Several gradients are those of micro-batches, already weighted. */
  async step(...gradients: readonly HostTensor[]): Promise<void> {
    this.updates++;
    const { learningRate } = this.#options;
    const context = { key: "default.weight", updates: this.updates, state: this.state };
    if (this.rule.refreshDue?.(context) === true) {
      await this.rule.refresh?.({ ...context, values: await this.#values(gradients), runner: this.#runner });
      const { basis } = this.#options;
      if (basis !== undefined) writeBases(this.state, basis(this.bases, this.updates - 1), this.config.basisBits);
      this.refreshes++;
    }
    const { gradientScale } = this.#options;
    const scalars = {
      ...this.rule.scalars({ ...context, learningRate }),
      ...(gradientScale !== undefined && { gradientScale }),
    };
    const gradient = await this.#gradient(gradients);
    const program = this.#runner.compile(({ own = {}, state = {}, scalars: numbers = {} }) => {
      const { parameter, gradient: g } = own as { parameter: tf.Tensor; gradient: tf.Tensor };
      const clip = (numbers["gradientScale"] as tf.Scalar | undefined) ?? null;
      const result = this.rule.update({ parameter, gradient: g, state, scalars: numbers, gradientScale: clip });
      return { own: { parameter: result.parameter }, state: result.state };
    });
    const results = await program.run({
      own: { parameter: this.weight, gradient },
      state: this.state,
      scalars: Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, float32([value], [])])),
    });
    await program.dispose();
    this.weight = results["own"]?.["parameter"] as HostTensor;
    this.state = { ...this.state, ...results["state"] };
  }

  get #runner(): TensorRunner {
    return this.#options.runner ?? eager;
  }

  /** What a refresh is given: the gradient of the step, or the sketch of its first micro-batch. */
  async #values(gradients: readonly HostTensor[]): Promise<Named<HostTensor>> {
    const { sketch, sketchInputs } = this.rule;
    if (sketch === undefined) return { gradient: sum(gradients) };
    const inputs = sketchInputs?.({ key: "default.weight", updates: this.updates, state: this.state }) ?? {};
    return this.#traced({ gradient: { gradient: gradients[0] as HostTensor }, inputs }, ({ gradient, inputs: x }) =>
      sketch(gradient?.["gradient"] as tf.Tensor, x ?? {}),
    );
  }

  /** What `update` is given. */
  async #gradient(gradients: readonly HostTensor[]): Promise<HostTensor> {
    const { reduce } = this.rule;
    if (reduce === undefined) return sum(gradients);
    const reduced: HostTensor[] = [];
    for (const gradient of gradients) {
      const { r } = await this.#traced({ g: { gradient }, state: this.state }, ({ g, state }) => ({
        r: reduce(g?.["gradient"] as tf.Tensor, state ?? {}),
      }));
      reduced.push(r as HostTensor);
    }
    return sum(reduced);
  }

  async #traced(
    args: Readonly<Record<string, Named<HostTensor>>>,
    fn: (args: Readonly<Record<string, Named<tf.Tensor>>>) => Named<tf.Tensor>,
  ): Promise<Named<HostTensor>> {
    const program = this.#runner.compile((inputs) => ({ results: fn(inputs) }));
    const { results = {} } = await program.run(args);
    await program.dispose();
    return results;
  }
}

export function sum(tensors: readonly HostTensor[]): HostTensor {
  const [first, ...others] = tensors as [HostTensor];
  const data = Float32Array.from(first.data, (x, i) => others.reduce((all, { data: y }) => all + (y[i] as number), x));
  return float32(data, first.shape);
}

export function of(rows: readonly (readonly number[])[]): HostTensor {
  return float32(rows.flat(), [rows.length, rows[0]?.length ?? 0]);
}

export function transposed({ data, shape: [rows = 0, columns = 0] }: HostTensor): HostTensor {
  const values = Array.from(
    { length: rows * columns },
    (_, i) => data[(i % rows) * columns + Math.floor(i / rows)] as number,
  );
  return float32(values, [columns, rows]);
}

export function negated(bases: PerAxis<HostTensor>): PerAxis<HostTensor> {
  const flip = (basis: HostTensor): HostTensor =>
    float32(
      Float32Array.from(basis.data, (x) => -x),
      basis.shape,
    );
  return Object.fromEntries(Object.entries(bases).map(([axis, basis]) => [axis, flip(basis as HostTensor)]));
}

export function gaussian(shape: readonly [number, number], seed: number): HostTensor {
  return float32(createGenerator(seed).normal(shape[0] * shape[1]), shape);
}
