import type { PluginRecord } from "@peftjs/core";
import { logistic } from "./importance.ts";

/** What was recorded before a step: the blocks that learn in it. */
export interface Selection {
  readonly step: number;
  /** Ascending. */
  readonly blocks: readonly number[];
}

/** What was recorded before a step in which candidates were compared. */
export interface ImportanceRecord {
  readonly step: number;
  /** The blocks that each candidate suppressed. */
  readonly sets: readonly (readonly number[])[];
  /** Loss of each; null for one that is not finite. */
  readonly losses: readonly (number | null)[];
  /** I after the update, in the order of `History.blocks`. */
  readonly importance: readonly number[];
  /** False when a loss was not finite: I is what it was. */
  readonly applied: boolean;
}

/** Which blocks learned in a run, and how their importance changed. */
export interface History {
  /** Numbers of the blocks that could learn. */
  readonly blocks: readonly number[];
  readonly selections: readonly Selection[];
  readonly updates: readonly ImportanceRecord[];
}

/** One row per step, one column per block. */
export interface StepByBlock {
  readonly steps: readonly number[];
  readonly rows: readonly (readonly number[])[];
}

/** The history in what a run recorded, from its first step on. */
export function historyOf(records: readonly PluginRecord[]): History {
  const entries = records as readonly unknown[] as readonly ((Selection & { among?: number[] }) | ImportanceRecord)[];
  const selections = entries.filter((entry) => "blocks" in entry);
  return {
    // The first record names all of them.
    blocks: selections[0]?.among ?? [],
    selections: selections.map(({ step, blocks }) => ({ step, blocks })),
    updates: entries.filter((entry) => "sets" in entry),
  };
}

/** 1 where a block learned in a step, else 0. */
export function learned({ blocks, selections }: History): StepByBlock {
  return {
    steps: selections.map(({ step }) => step),
    rows: selections.map((selection) => blocks.map((block) => (selection.blocks.includes(block) ? 1 : 0))),
  };
}

/** I that the blocks of a step were drawn with: at the start, and after each update. */
export function importance({ blocks, updates }: History): StepByBlock {
  return {
    steps: [1, ...updates.map(({ step }) => step)],
    rows: [blocks.map(() => 0), ...updates.map((update) => update.importance)],
  };
}

/** σ(I) at the start, and after each update. */
export function weights(history: History): StepByBlock {
  const { steps, rows } = importance(history);
  return { steps, rows: rows.map((row) => row.map(logistic)) };
}

/** Share of the steps in which each block learned. */
export function shares(history: History): number[] {
  const { rows } = learned(history);
  return history.blocks.map((_, i) => rows.reduce((sum, row) => sum + (row[i] as number), 0) / (rows.length || 1));
}
