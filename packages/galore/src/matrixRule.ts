import { cloneTensor, createGenerator } from "@peftjs/core";
import type {
  Generator,
  HostTensor,
  LayerSite,
  Named,
  ParameterRule,
  RefreshContext,
  RuleContext,
  RuleUpdate,
} from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { alignSigns, findBases, firstCosine, isExact, turnsBetween } from "./basis.ts";
import type { GaloreConfig } from "./config.ts";
import { programOf } from "./programs.ts";
import { perAxis, project, projectionOf } from "./projection.ts";
import type { PerAxis, Projection } from "./projection.ts";
import { afterRefresh, clockSpec, readClock, writeClock } from "./refreshClock.ts";
import type { RefreshClock } from "./refreshClock.ts";
import { innerRule, weightDecayOf } from "./rules/fromConfig.ts";
import type { InnerRule } from "./rules/rule.ts";
import { basesOfSketch, drawSketch, sketchOf } from "./sketch.ts";
import { basisSlots, readBases, tracedBases, writeAll, writeBases } from "./state.ts";
import { updateMatrix } from "./update.ts";

export interface MatrixOptions extends Pick<LayerSite, "layout"> {
  /** As it is stored. */
  readonly shape: readonly [number, number];
  readonly config: GaloreConfig;
}

/** What is settled about a matrix before training. */
interface Matrix extends MatrixOptions {
  readonly projection: Projection;
  readonly inner: InnerRule;
  readonly kind: string;
}

/**
 * The update of one weight W [m, n] (Zhao et al. 2024, algorithms 1 and 2): every T updates new bases P, Q from the gradient G, then
 * R = P·G·Qᵀ, N from the rule inside the subspace, W ← W − η·α·Pᵀ·N·Q. What is remembered are tensors alone: `basis.*`, the rule's own,
 * and `clock`, so that a run goes on from them bit for bit. `layerwise`: R leaves the gradient's program instead of G.
 */
export function matrixRule(options: MatrixOptions): ParameterRule {
  const { config, shape } = options;
  const projection = projectionOf(shape, { ...config, layout: options.layout });
  const kind = `galore ${JSON.stringify([projection.axes, projection.rank, config])}`;
  const matrix: Matrix = { ...options, projection, inner: innerRule(config), kind };
  const rule: ParameterRule = {
    kind,
    state: {
      ...basisSlots(projection, config.basisBits),
      ...matrix.inner.slots(projection.reduced),
      clock: clockSpec(config),
    },
    scalars: ({ updates, learningRate, state }) =>
      matrix.inner.scalars(updates - clockOf(matrix, state).start, learningRate),
    update: (input) => update(matrix, input),
    refreshDue: ({ updates, state }) => updates - 1 >= clockOf(matrix, state).next,
    refresh: (context) => refresh(matrix, context),
  };
  if (!config.layerwise) return rule;
  const whole = isExact(shape, matrix);
  return {
    ...rule,
    reduced: projection.reduced,
    reduce: (gradient, state) => project(gradient as tf.Tensor2D, tracedBases(state, projection, config.basisBits)),
    sketch: (gradient, inputs) =>
      whole ? { gradient } : sketchOf(gradient as tf.Tensor2D, inputs, { ...config, projection }),
    sketchInputs: (context) =>
      whole ? {} : drawSketch(shape, { projection, config, generator: generatorOf(matrix, context) }),
  };
}

function update(
  { config, projection, inner }: Matrix,
  { parameter, gradient, gradientScale, state, scalars }: RuleUpdate,
): ReturnType<ParameterRule["update"]> {
  const bases = tracedBases(state, projection, config.basisBits);
  const reduced = config.layerwise ? (gradient as tf.Tensor2D) : project(gradient as tf.Tensor2D, bases);
  const result = updateMatrix(
    {
      weight: parameter as tf.Tensor2D,
      reduced: gradientScale === null ? reduced : tf.mul(reduced, gradientScale),
      ...{ bases, state, scalars },
    },
    { inner, scale: config.scale, weightDecay: weightDecayOf(config) },
  );
  return { parameter: result.weight, state: result.state };
}

/** New bases into the live state, what `momentOnRefresh` says is done to the rule's own, and the clock set to the next refresh. */
async function refresh(matrix: Matrix, context: RefreshContext): Promise<void> {
  const { config, projection, inner } = matrix;
  const { state } = context;
  const step = context.updates - 1;
  const clock = clockOf(matrix, state);
  const read = (): PerAxis<HostTensor> => readBases(state, projection, config.basisBits);
  const previous = step === 0 ? null : perAxis(read(), cloneTensor);
  const found = await basesFrom(matrix, context);
  writeBases(state, previous !== null && config.alignSigns ? alignSigns(found, previous) : found, config.basisBits);
  const bases = read();
  const cosine = previous === null ? null : firstCosine(bases, previous);
  let next: RefreshClock = afterRefresh(clock, { step, cosine, adaptiveGap: config.adaptiveGap });
  if (previous !== null && config.momentOnRefresh === "project")
    await carry(matrix, context, turnsBetween(previous, bases));
  if (config.momentOnRefresh === "reset") {
    for (const slot of Object.keys(inner.slots(projection.reduced))) state[slot]?.data.fill(0);
    next = { ...next, start: step };
  }
  writeClock(state["clock"] as HostTensor, next);
}

function basesFrom(matrix: Matrix, context: RefreshContext): Promise<PerAxis<HostTensor>> {
  const { values, runner } = context;
  const { projection, config } = matrix;
  const generator = generatorOf(matrix, context);
  const { gradient } = values;
  if (gradient === undefined) return basesOfSketch(values, { ...config, projection, runner, generator });
  return findBases(gradient, { projection, config, runner, generator });
}

/** Expresses the rule's state in the new bases. */
async function carry(
  { inner, kind, projection: { reduced } }: Matrix,
  { state, runner }: RefreshContext,
  turns: PerAxis<HostTensor>,
): Promise<void> {
  const own = Object.fromEntries(Object.keys(inner.slots(reduced)).map((slot) => [slot, state[slot] as HostTensor]));
  const program = programOf(runner, `${kind} [${reduced.join(", ")}]`, ({ state: before = {}, turns: t = {} }) => ({
    state: inner.carry?.(before, { reduced, turns: t as PerAxis<tf.Tensor2D> }) ?? {},
  }));
  const carried = await program.run({ state: own, turns: turns as Named<HostTensor> });
  writeAll(state, carried["state"] ?? {});
}

function clockOf({ config }: Matrix, state: Named<HostTensor>): RefreshClock {
  return readClock(state["clock"] as HostTensor, config);
}

/** The numbers of a sketch follow from the seed, the parameter and the update, so that no generator is kept. */
function generatorOf({ config }: Matrix, { key, updates }: Pick<RuleContext, "key" | "updates">): Generator {
  let hash = 0x811c9dc5;
  for (const character of `${config.seed}/${key}/${updates}`)
    hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  return createGenerator(hash >>> 0);
}
