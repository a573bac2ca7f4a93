import { createGenerator, float32, PeftError } from "@peftjs/core";
import type { HostTensor, Named, TensorRunner } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { eagerEngine } from "@peftjs/testkit";
import type * as tf from "@tensorflow/tfjs-core";
import {
  afterRefresh,
  basisFinder,
  emptyState,
  firstCosine,
  GaloreConfig,
  projectionOf,
  refreshBases,
  ruleOf,
  startClock,
  turnsBetween,
  updateMatrix,
  weightDecayOf,
} from "../src/index.ts";
import type { InnerRule, PerAxis, Projection } from "../src/index.ts";

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
}

/** One matrix under GaLore, step by step: what the plug-in does for every matrix of a model. */
export class MatrixRun {
  readonly projection: Projection;
  weight: HostTensor;
  state: Named<HostTensor>;
  bases: PerAxis<HostTensor> | null = null;
  refreshes = 0;
  readonly #options: RunOptions;
  readonly #config: GaloreConfig;
  readonly #rule: InnerRule;
  #clock: ReturnType<typeof startClock>;
  #step = 0;
  #sinceReset = 0;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#config = GaloreConfig.parse({ svd: "exact", ...(options.config as object) });
    this.#rule = ruleOf(this.#config);
    this.projection = projectionOf(options.shape, { ...this.#config, layout: options.layout ?? "out_in" });
    this.weight = options.weight ?? float32(new Float32Array(options.shape[0] * options.shape[1]), options.shape);
    this.state = emptyState(this.#rule, this.projection.reduced);
    this.#clock = startClock(this.#config);
  }

  async step(gradient: HostTensor): Promise<void> {
    if (this.#step === this.#clock.next) await this.#refresh(gradient);
    this.#step++;
    this.#sinceReset++;
    const { learningRate, runner = eager } = this.#options;
    const scalars = Object.entries(this.#rule.scalars(this.#sinceReset, learningRate));
    const options = { rule: this.#rule, scale: this.#config.scale, weightDecay: weightDecayOf(this.#config) };
    const program = runner.compile(({ own = {}, bases = {}, state = {}, scalars: inputs = {} }) => {
      const { weight, gradient: g } = own as { weight: tf.Tensor2D; gradient: tf.Tensor2D };
      const result = updateMatrix({ weight, gradient: g, bases, state, scalars: inputs }, options);
      return { own: { weight: result.weight }, state: result.state };
    });
    const results = await program.run({
      own: { weight: this.weight, gradient },
      bases: this.bases as Named<HostTensor>,
      state: this.state,
      scalars: Object.fromEntries(scalars.map(([name, value]) => [name, float32([value], [])])),
    });
    await program.dispose();
    this.weight = results["own"]?.["weight"] as HostTensor;
    this.state = results["state"] ?? {};
  }

  async #refresh(gradient: HostTensor): Promise<void> {
    const [config, previous] = [this.#config, this.bases];
    const finder = basisFinder(config, this.#options.runner ?? eager);
    const generator = createGenerator(config.seed + this.#step);
    const found = await refreshBases(gradient, { finder, previous, config, projection: this.projection, generator });
    await finder.dispose();
    this.bases = this.#options.basis?.(found, this.#step) ?? found;
    this.refreshes++;
    const cosine = previous === null ? null : firstCosine(this.bases, previous);
    this.#clock = afterRefresh(this.#clock, { step: this.#step, cosine, adaptiveGap: config.adaptiveGap });
    if (previous === null) return;
    if (config.momentOnRefresh === "reset") {
      this.state = emptyState(this.#rule, this.projection.reduced);
      this.#sinceReset = 0;
    }
    if (config.momentOnRefresh === "project") await this.#carry(turnsBetween(previous, this.bases));
  }

  async #carry(turns: PerAxis<HostTensor>): Promise<void> {
    const { carry } = this.#rule;
    if (carry === undefined)
      throw new PeftError("CARRY_UNSUPPORTED", "This rule's state has no form in another basis.");
    const { reduced } = this.projection;
    const program = eager.compile(({ state = {}, turns: t = {} }) => ({
      state: carry(state, { reduced, turns: t as PerAxis<tf.Tensor2D> }),
    }));
    this.state = (await program.run({ state: this.state, turns: turns as Named<HostTensor> }))["state"] ?? {};
  }
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
