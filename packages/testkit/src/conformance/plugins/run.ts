import { cloneTensor, peft } from "@peftjs/core";
import type { BaseModel, CalibrationData, HostTensor, Named, PeftModel } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { Trainer } from "@peftjs/train";
import type { PluginEvent, StepEvent, TrainingConfigInput } from "@peftjs/train";
import { calibrationBatches, tinyModel } from "../subjects.ts";
import { trainingPlan, validationPlan } from "./data.ts";
import { beneath, used, type PluginSetting, type Use } from "./options.ts";

export const BLOCKS = 4;

export interface RunOptions {
  /** In this order. Default: the method, then what stands beside the plug-in, and the plug-in under the suite's config. */
  readonly uses?: readonly Use[];
  /** Over the suite's options. */
  readonly training?: TrainingConfigInput;
  /** Default: the suite's. */
  readonly steps?: number;
  /** Micro-batches that a batch is divided into. Default: 1. */
  readonly parts?: number;
  readonly dropout?: number;
  readonly blocks?: number;
  readonly engine?: Engine;
  /** Folder of the run. Default: a new one. */
  readonly dir?: string;
  /** Saves after this step, and breaks down after the one that follows. */
  readonly interruptedAfter?: number;
  /** Called after each step, with the model as it is then. */
  readonly onStep?: (event: StepEvent, model: PeftModel) => void;
}

/** What a run leaves behind. */
export interface Trace {
  readonly losses: readonly number[];
  readonly gradNorms: readonly number[];
  readonly model: PeftModel;
  readonly base: BaseModel;
  /** What plug-ins recorded, in order. */
  readonly records: readonly PluginEvent[];
  /** Copies of the last values. */
  readonly parameters: Named<HostTensor>;
  readonly dir: string;
}

class Breakdown extends Error {}

/** A model with what is used on it. */
export function build(base: BaseModel, uses: readonly Use[], calibration?: CalibrationData): Promise<PeftModel> {
  const builder = uses.reduce(
    (before, use) =>
      "plugin" in use ? before.use(use.plugin, use.config) : before.use(use.method, use.config, { seed: 5 }),
    peft(base),
  );
  return builder.apply(calibration);
}

/** A short training run. */
export async function run(setting: PluginSetting, options: RunOptions = {}): Promise<Trace> {
  const { suite, family } = setting;
  const { uses = [...beneath(setting), used(suite)], engine = setting.engine, dir = setting.folder() } = options;
  const base = tinyModel(family, { blocks: options.blocks ?? BLOCKS, dropout: options.dropout ?? 0 });
  const model = await build(base, uses, { batches: calibrationBatches(family), runner: engine });
  const steps = options.steps ?? suite.steps;
  const { parts = 1, interruptedAfter } = options;
  const events: StepEvent[] = [];
  const records: PluginEvent[] = [];
  const trainer = new Trainer({
    ...{ model, engine, train: trainingPlan(family, { batches: steps, parts }), evaluation: validationPlan(family) },
    config: {
      ...{ learningRate: 1e-2, schedule: "constant", warmupSteps: 0, evalEvery: "never", epochs: 1 },
      ...{ accumulationSteps: parts, saveEvery: interruptedAfter ?? "epoch", outputDir: dir },
      ...{ ...suite.training, ...options.training },
    },
    loggers: [
      {
        plugin: (event) => void records.push(event),
        step: (event) => {
          events.push(event);
          options.onStep?.(event, model);
          if (interruptedAfter !== undefined && event.step > interruptedAfter) throw new Breakdown();
        },
      },
    ],
  });
  try {
    await trainer.train();
  } catch (error) {
    if (!(error instanceof Breakdown)) throw error;
  } finally {
    await trainer.dispose();
  }
  return {
    losses: events.map(({ loss }) => loss),
    gradNorms: events.map(({ gradNorm }) => gradNorm),
    parameters: copyOf(model.trainable()),
    ...{ model, base, dir, records },
  };
}

export function copyOf(tensors: Named<HostTensor>): Named<HostTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, cloneTensor(tensor)]));
}
