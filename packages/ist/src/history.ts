import { PeftError } from "@peftjs/core";
import { logistic } from "./importance.ts";
import type { Hooks, ImportanceUpdate, Selection } from "./controller.ts";

/** A run's choices as JSON. */
export interface HistoryJson {
  /** N. */
  readonly blocks: number;
  readonly selections: readonly Selection[];
  readonly updates: readonly ImportanceUpdate[];
}

/** One row per step, one column per block. */
export interface StepByBlock {
  readonly steps: readonly number[];
  readonly rows: readonly (readonly number[])[];
}

/** Records which blocks learned and how their importance changed: one of a controller's hooks. */
export class History implements Hooks {
  readonly blocks: number;
  readonly #selections: Selection[];
  readonly #updates: ImportanceUpdate[];

  /**
   * @param blocks N.
   * @param resume the record of an interrupted run, and the step that it goes on from; what was recorded from there on is dropped.
   * @throws PeftError `RESUME_MISMATCH` when it is of another number of blocks.
   */
  constructor(blocks: number, resume?: { readonly json: HistoryJson; readonly step: number }) {
    if (resume !== undefined && resume.json.blocks !== blocks) {
      throw new PeftError(
        "RESUME_MISMATCH",
        `The history is of ${resume.json.blocks} blocks, but ${blocks} blocks can learn. Begin a new history, or resume with the model of the old one.`,
      );
    }
    const before = <T extends { readonly step: number }>(entries: readonly T[] = []): T[] =>
      entries.filter(({ step }) => step < (resume?.step ?? 0));
    this.blocks = blocks;
    this.#selections = before(resume?.json.selections);
    this.#updates = before(resume?.json.updates);
  }

  onLayersSelected(selection: Selection): void {
    this.#selections.push(selection);
  }

  onImportance(update: ImportanceUpdate): void {
    this.#updates.push(update);
  }

  toJSON(): HistoryJson {
    return { blocks: this.blocks, selections: [...this.#selections], updates: [...this.#updates] };
  }

  /** 1 where a block learned in a step, else 0. */
  get learned(): StepByBlock {
    return {
      steps: this.#selections.map(({ step }) => step),
      rows: this.#selections.map(({ blocks }) => this.#columns((block) => (blocks.includes(block) ? 1 : 0))),
    };
  }

  /** I at the start, and after each update. */
  get importance(): StepByBlock {
    return {
      steps: [0, ...this.#updates.map(({ step }) => step)],
      rows: [this.#columns(() => 0), ...this.#updates.map(({ importance }) => importance)],
    };
  }

  /** σ(I) at the start, and after each update. */
  get weights(): StepByBlock {
    const { steps, rows } = this.importance;
    return { steps, rows: rows.map((row) => row.map(logistic)) };
  }

  /** Share of the steps in which each block learned. */
  get shares(): number[] {
    const { rows } = this.learned;
    return this.#columns((block) => rows.reduce((sum, row) => sum + (row[block] as number), 0) / (rows.length || 1));
  }

  #columns(value: (block: number) => number): number[] {
    return Array.from({ length: this.blocks }, (_, block) => value(block));
  }
}

/** Comma-separated values: a heading `step,block0,block1,…`, then a line per step. */
export function csv({ steps, rows }: StepByBlock, blocks: number): string {
  const heading = ["step", ...Array.from({ length: blocks }, (_, block) => `block${block}`)];
  const lines = steps.map((step, i) => [step, ...(rows[i] as readonly number[])].join(","));
  return `${[heading.join(","), ...lines].join("\n")}\n`;
}
