import type { Experiment, MethodsFile } from "./experiment.ts";
import { shortest, type FrozenSetting } from "./frozen.ts";
import type { RunSpec } from "./results.ts";
import { chooseRows, rowOf } from "./rows.ts";
import type { RowNames } from "./rows.ts";
import { unknownName } from "./unknownName.ts";

export interface PlanOptions {
  readonly experiment: Experiment;
  readonly settings: MethodsFile;
  /** Names of all registered methods and plug-ins, to which the settings may add variants, and of all embedded tasks. */
  readonly allMethods: readonly string[];
  readonly allPlugins: readonly string[];
  readonly allTasks: readonly string[];
  /** Choices that narrow the preset. */
  readonly methods?: readonly string[] | undefined;
  readonly tasks?: readonly string[] | undefined;
  readonly seeds?: readonly number[] | undefined;
  readonly model?: string | undefined;
  /** How rows that do not say it themselves hold their frozen weights. Default: float32. */
  readonly frozen?: FrozenSetting | undefined;
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
  const { experiment, settings, allMethods, allPlugins, allTasks } = options;
  const names = { settings: { ...settings, ...experiment.variants }, methods: allMethods, plugins: allPlugins };
  const methods = chooseRows(options.methods ?? experiment.methods, names);
  const tasks = chooseTasks(options.tasks ?? experiment.tasks, allTasks);
  const seeds = options.seeds ?? experiment.seeds;
  const shared = sharedSettings(options, names);
  return seeds.flatMap((seed) =>
    tasks.flatMap((task) =>
      methods.map((method) => ({
        ...shared,
        ...ownSettings(method, { settings: names.settings, byDefault: options.frozen ?? "float32" }),
        method,
        task,
        seed,
      })),
    ),
  );
}

/** Training rows of one run: min(preset's rows, budget / (epochs × runs)), a whole number of batches. */
export function rowsPerRun(experiment: Experiment, perSeed: number): number {
  const { train, budget } = experiment.rows;
  if (budget === null) return train;
  const runs = perSeed * experiment.seeds.length;
  const batches = Math.floor(budget / (experiment.epochs * runs * experiment.batchSize));
  return Math.min(train, Math.max(1, batches) * experiment.batchSize);
}

function sharedSettings(options: PlanOptions, names: RowNames) {
  const { experiment, allTasks } = options;
  const methods = chooseRows(experiment.methods, names);
  const tasks = chooseTasks(experiment.tasks, allTasks);
  return {
    model: options.model ?? null,
    engine: options.engine,
    threads: options.threads ?? null,
    weightDecay: experiment.weightDecay,
    warmupFraction: experiment.warmupFraction,
    batchSize: experiment.batchSize,
    maxLength: experiment.maxLength,
    trainRows: rowsPerRun(experiment, methods.length * tasks.length),
    epochs: experiment.epochs,
    devRows: experiment.rows.dev,
    testRows: experiment.rows.test,
  };
}

type OwnSettings = Pick<RunSpec, "learningRate" | "methodConfig" | "variantOf" | "plugins" | "frozen">;

/** Fields that a row has no use for are left out, so that runs of earlier versions stay the same. */
function ownSettings(
  name: string,
  { settings, byDefault }: { readonly settings: MethodsFile; readonly byDefault: FrozenSetting },
): OwnSettings {
  const { method, learningRate, config, plugins, ...own } = rowOf(name, settings);
  const frozen = shortest(own.frozen ?? byDefault);
  return {
    ...{ learningRate, methodConfig: config },
    ...(method === name ? {} : { variantOf: method }),
    ...(Object.keys(plugins).length === 0 ? {} : { plugins }),
    ...(frozen === "float32" ? {} : { frozen }),
  };
}

function chooseTasks(names: "all" | readonly string[], known: readonly string[]): readonly string[] {
  if (names === "all") return known;
  const strange = names.find((name) => !known.includes(name));
  if (strange !== undefined) throw unknownName({ code: "TASK_UNKNOWN", what: "task", name: strange, known });
  return [...new Set(names)];
}
