import { didYouMean, PeftError } from "@peftjs/core";
import type { Experiment, MethodsFile } from "./experiment.ts";
import type { RunSpec } from "./results.ts";

export interface PlanOptions {
  readonly experiment: Experiment;
  readonly settings: MethodsFile;
  /** Names of all registered methods, to which the settings may add variants, and of all embedded tasks. */
  readonly allMethods: readonly string[];
  readonly allTasks: readonly string[];
  /** Choices that narrow the preset. */
  readonly methods?: readonly string[] | undefined;
  readonly tasks?: readonly string[] | undefined;
  readonly seeds?: readonly number[] | undefined;
  readonly model?: string | undefined;
  readonly engine: RunSpec["engine"];
  readonly threads?: number | undefined;
}

/**
 * The runs of a comparison, method by method within task within seed, so that an early stop leaves whole comparisons.
 *
 * Training rows: the preset's budget is shared among the runs it would have with every registered method, so that
 * the default takes no longer as methods are added, and a run's score does not depend on which others were chosen.
 */
export function planRuns(options: PlanOptions): RunSpec[] {
  const { experiment } = options;
  const allMethods = withVariants(options.allMethods, options.settings);
  const methods = choose("method", options.methods ?? listOf(experiment.methods, allMethods), allMethods);
  const tasks = choose("task", options.tasks ?? listOf(experiment.tasks, options.allTasks), options.allTasks);
  const seeds = options.seeds ?? experiment.seeds;
  const shared = sharedSettings(options);
  return seeds.flatMap((seed) =>
    tasks.flatMap((task) =>
      methods.map((method) => ({ ...shared, ...methodSettings(options.settings, method), method, task, seed })),
    ),
  );
}

/** Training rows of one run: min(preset's rows, budget / (epochs × runs)), a whole number of batches. */
export function rowsPerRun(experiment: Experiment, allMethods: readonly string[], allTasks: readonly string[]): number {
  const { train, budget } = experiment.rows;
  if (budget === null) return train;
  const runs =
    listOf(experiment.methods, allMethods).length * listOf(experiment.tasks, allTasks).length * experiment.seeds.length;
  const batches = Math.floor(budget / (experiment.epochs * runs * experiment.batchSize));
  return Math.min(train, Math.max(1, batches) * experiment.batchSize);
}

function sharedSettings(options: PlanOptions) {
  const { experiment } = options;
  return {
    model: options.model ?? null,
    engine: options.engine,
    threads: options.threads ?? null,
    weightDecay: experiment.weightDecay,
    warmupFraction: experiment.warmupFraction,
    batchSize: experiment.batchSize,
    maxLength: experiment.maxLength,
    trainRows: rowsPerRun(experiment, withVariants(options.allMethods, options.settings), options.allTasks),
    epochs: experiment.epochs,
    devRows: experiment.rows.dev,
    testRows: experiment.rows.test,
  };
}

/** Every method, and behind it the rows of the settings that are variants of it. */
function withVariants(methods: readonly string[], settings: MethodsFile): readonly string[] {
  const variantsOf = (method: string): string[] =>
    Object.keys(settings).filter((name) => settings[name]?.method === method);
  return methods.flatMap((method) => [method, ...variantsOf(method)]);
}

type OwnSettings = Pick<RunSpec, "learningRate" | "methodConfig" | "variantOf">;

function methodSettings(settings: MethodsFile, name: string): OwnSettings {
  const own = settings[name] ?? settings["default"];
  return {
    learningRate: own?.learningRate ?? 1e-3,
    methodConfig: own?.config ?? {},
    ...(own?.method === undefined ? {} : { variantOf: own.method }),
  };
}

function listOf(choice: "all" | readonly string[], all: readonly string[]): readonly string[] {
  return choice === "all" ? all : choice;
}

function choose(what: "method" | "task", names: readonly string[], known: readonly string[]): readonly string[] {
  for (const name of names) {
    if (known.includes(name)) continue;
    throw new PeftError(
      what === "method" ? "METHOD_UNKNOWN" : "TASK_UNKNOWN",
      `There is no ${what} "${name}".${didYouMean(name, known)} Known: ${known.join(", ")}.`,
    );
  }
  return [...new Set(names)];
}
