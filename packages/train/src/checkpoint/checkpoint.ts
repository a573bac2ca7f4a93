import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { HostTensor, Named } from "@peftjs/core";
import type { StepTensors } from "../step/stepper.ts";
import { readTensors, writeTensors } from "./tensorFile.ts";

/** Best evaluation so far. */
export interface Best {
  readonly step: number;
  readonly value: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** The small part of what a run goes on from; the rest are tensors. */
export interface RunState {
  /** Optimizer steps done. */
  readonly step: number;
  /** Loss of the last step; null before the first. */
  readonly loss: number | null;
  /** Metrics of the last evaluation; null before the first. */
  readonly metrics: Readonly<Record<string, number>> | null;
  readonly best: Best | null;
  readonly evaluationsWithoutImprovement: number;
  /** Updates of each block so far, where a plug-in chooses them. */
  readonly updates?: Readonly<Record<string, number>>;
  /** What plug-ins keep, by name. */
  readonly plugins?: Readonly<Record<string, unknown>>;
  /** Options that decide the run's numbers; a resumed run must have the same. */
  readonly fingerprint: Readonly<Record<string, unknown>>;
}

/** What makes a model what it is at a step. */
export type ModelTensors = Omit<StepTensors, "optimizer">;

export interface Checkpoint extends StepTensors {
  readonly run: RunState;
}

const RUN = "trainer_state.json";
const TRAINABLE = "trainable.safetensors";
const OPTIMIZER = "optimizer.safetensors";
/** Only where methods keep something. */
const STATE = "method_state.safetensors";

/** `<outputDir>/checkpoints/step-<N>`, each complete from the moment it exists: written beside and renamed. */
export class CheckpointFolder {
  readonly #root: string;

  constructor(outputDir: string) {
    this.#root = join(outputDir, "checkpoints");
  }

  path(step: number): string {
    return join(this.#root, `step-${step}`);
  }

  /** Steps with a checkpoint folder, ascending. */
  async steps(): Promise<readonly number[]> {
    if (!existsSync(this.#root)) return [];
    const names = await readdir(this.#root);
    return names
      .map((name) => /^step-(\d+)$/.exec(name)?.[1])
      .filter((step) => step !== undefined)
      .map(Number)
      .sort((a, b) => a - b);
  }

  /** Every file is on the disk before the folder gets its name. Returns the folder. */
  async save(checkpoint: Checkpoint): Promise<string> {
    const { run, trainable, optimizer, state } = checkpoint;
    const target = this.path(run.step);
    const draft = `${target}.draft`;
    await rm(draft, { recursive: true, force: true });
    await mkdir(draft, { recursive: true });
    const files: Record<string, Named<HostTensor>> = { [TRAINABLE]: trainable, [OPTIMIZER]: optimizer };
    if (Object.keys(state).length > 0) files[STATE] = state;
    const bytes: Record<string, number> = {};
    for (const [file, tensors] of Object.entries(files)) {
      await writeTensors(join(draft, file), tensors);
      bytes[file] = (await stat(join(draft, file))).size;
    }
    await writeFile(join(draft, RUN), `${JSON.stringify({ ...run, bytes }, null, 2)}\n`, { flush: true });
    await rm(target, { recursive: true, force: true });
    await rename(draft, target);
    return target;
  }

  /** The newest checkpoint whose files are all there in full; null without one. */
  async newest(): Promise<Checkpoint | null> {
    for (const step of [...(await this.steps())].reverse()) {
      const run = await this.#readRun(step);
      if (run === null) continue;
      return { run, ...(await this.readModel(step)), optimizer: await readTensors(join(this.path(step), OPTIMIZER)) };
    }
    return null;
  }

  /** Parameters and state of one checkpoint. */
  async readModel(step: number): Promise<ModelTensors> {
    const state = join(this.path(step), STATE);
    return {
      trainable: await readTensors(join(this.path(step), TRAINABLE)),
      state: existsSync(state) ? await readTensors(state) : {},
    };
  }

  /** Removes all but the latest `keep` and the best one, and what an interrupted save left behind. */
  async prune(keep: number, best: number | null): Promise<void> {
    const steps = await this.steps();
    const kept = new Set([...steps.slice(-keep), best]);
    await Promise.all(
      steps.filter((step) => !kept.has(step)).map((step) => rm(this.path(step), { recursive: true, force: true })),
    );
    const drafts = existsSync(this.#root) ? (await readdir(this.#root)).filter((name) => name.endsWith(".draft")) : [];
    await Promise.all(drafts.map((name) => rm(join(this.#root, name), { recursive: true, force: true })));
  }

  /** Null when the folder is not a complete checkpoint (a copy that was cut short, say). */
  async #readRun(step: number): Promise<RunState | null> {
    try {
      const { bytes, ...run } = JSON.parse(await readFile(join(this.path(step), RUN), "utf8")) as RunState & {
        bytes: Record<string, number>;
      };
      for (const [file, size] of Object.entries(bytes)) {
        if ((await stat(join(this.path(step), file))).size !== size) return null;
      }
      return run.step === step ? run : null;
    } catch {
      return null;
    }
  }
}
