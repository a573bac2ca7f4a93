import { createGenerator, PeftError } from "@peftjs/core";
import type { Generator, GeneratorState } from "@peftjs/core";
import type { Plan } from "./config.ts";
import { drawCandidates, samplers } from "./draw.ts";
import { logistic, updatedImportance } from "./importance.ts";

/** What the candidates before a step said. */
export interface ImportanceUpdate {
  /** I after the update, by block. */
  readonly importance: readonly number[];
  /** False when a loss was not finite: I is what it was. */
  readonly applied: boolean;
}

/** Everything that the next steps depend on, as JSON. */
export interface ControllerState {
  /** Steps done. */
  readonly step: number;
  readonly importance: readonly number[];
  /** The blocks of the last step; empty before the first. */
  readonly active: readonly number[];
  readonly generator: GeneratorState;
}

/**
 * The two loops of IST (Yao et al. 2024), without a model. Before each optimizer step, from 0:
 *
 * 1. `candidates()`: before step T, 2T, … the sets of blocks to suppress, drawn with σ(−I); else none.
 * 2. Where there are some, `learn(losses)` with the loss of each: I is updated.
 * 3. `select()`: the N_u blocks that learn, drawn with σ(I).
 *
 * The generator is used in this order: the sets one after the other, then the blocks.
 */
export class BlockController {
  readonly plan: Plan;
  readonly #generator: Generator;
  #step: number;
  #importance: readonly number[];
  #active: readonly number[];
  #pending: readonly (readonly number[])[] | null = null;

  /**
   * @param start the seed, or the state to go on from.
   * @throws PeftError `RESUME_MISMATCH` when the state is that of a model with another number of blocks.
   */
  constructor(plan: Plan, start: number | ControllerState) {
    const state = typeof start === "number" ? null : start;
    if (state !== null && state.importance.length !== plan.blocks) {
      throw new PeftError(
        "RESUME_MISMATCH",
        `The saved importance is that of ${state.importance.length} blocks, but ${plan.blocks} blocks can learn. Resume with the model and adapter of the interrupted run.`,
      );
    }
    this.plan = plan;
    this.#generator = createGenerator(typeof start === "number" ? start : start.generator);
    this.#step = state?.step ?? 0;
    this.#importance = state?.importance ?? Array.from({ length: plan.blocks }, () => 0);
    this.#active = state?.active ?? [];
  }

  /**
   * How often the importance has been due so far: the number of the next batch for it, so that a resumed run goes on in its data.
   */
  get comparisons(): number {
    const { importance } = this.plan;
    return importance === null ? 0 : Math.floor(Math.max(0, this.#step - 1) / importance.interval);
  }

  /** The sets to suppress before the next step, all different; empty when none are due. The same until the step. */
  candidates(): readonly (readonly number[])[] {
    const { importance } = this.plan;
    const due = importance !== null && this.#step > 0 && this.#step % importance.interval === 0;
    if (!due) return [];
    return (this.#pending ??= drawCandidates(
      this.#importance.map((score) => logistic(-score)),
      { count: importance.suppressed, candidates: importance.candidates },
      this.#generator,
    ));
  }

  /**
   * Updates the importance from the loss of each candidate. A loss that is not finite changes nothing.
   * @throws PeftError `LOSSES_MISSING` unless there is one loss per candidate.
   */
  learn(losses: readonly number[]): ImportanceUpdate {
    const { importance: plan } = this.plan;
    const sets = this.#pending;
    if (plan === null || sets === null || sets.length === 0) {
      throw new PeftError("ORDER_INVALID", "There are no candidates to learn from. Call candidates() first.");
    }
    const importance = updatedImportance(this.#importance, { sets, losses }, plan);
    this.#importance = importance ?? this.#importance;
    this.#pending = [];
    return { importance: this.#importance, applied: importance !== null };
  }

  /**
   * The blocks that learn in the next step, which is done with this.
   * @throws PeftError `ORDER_INVALID` when candidates are due that were not learned from.
   */
  select(): readonly number[] {
    if (this.candidates().length > 0) {
      throw new PeftError(
        "ORDER_INVALID",
        `Candidates are to be compared before step ${this.#step}. Call learn() with their losses first.`,
      );
    }
    const { resampleEvery, sampler, learning } = this.plan;
    // Of Infinity, step 0 alone is a multiple.
    if (this.#step % resampleEvery === 0) {
      this.#active = samplers[sampler](this.#importance.map(logistic), learning, this.#generator);
    }
    this.#step++;
    this.#pending = null;
    return this.#active;
  }

  /**
   * What a controller of the same plan goes on from, after a step.
   * @throws PeftError `ORDER_INVALID` between the candidates of a step and its blocks.
   */
  state(): ControllerState {
    if (this.#pending !== null) {
      throw new PeftError("ORDER_INVALID", "The state is that after a step. Call select() first.");
    }
    return {
      step: this.#step,
      importance: [...this.#importance],
      active: [...this.#active],
      generator: this.#generator.state(),
    };
  }
}
