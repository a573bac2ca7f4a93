import type { HostTensor, Named, ParameterRule } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { keyed, scalar, tensorsOf } from "../optim/tensors.ts";
import { isUpdated, updateOf } from "./facts.ts";
import type { StepFacts } from "./facts.ts";
import { ruled } from "./layout.ts";

/** A parameter with a rule, e.g. one that is to be refreshed before this step's update. */
export interface DueRule {
  readonly rule: ParameterRule;
  readonly context: { readonly key: string; readonly updates: number; readonly state: Named<HostTensor> };
}

/** Those of them that learn in this step. */
export function dueRules(facts: StepFacts): DueRule[] {
  return inContext(facts).filter(
    ({ rule, context }) => isUpdated(facts, context.key) && rule.refreshDue?.(context) === true,
  );
}

function inContext(facts: StepFacts): DueRule[] {
  return ruled(facts.layout).map(([key, rule]) => ({
    rule,
    context: { key, updates: updateOf(facts, key), state: facts.ruleStates[key] ?? {} },
  }));
}

/**
 * What the program `sketch` is given: of each rule that reduces its gradient, whether it is due, and what it asks for. The same tensors
 * whichever rules are due, so that one program serves them all.
 */
export function sketchInputs(facts: StepFacts, due: readonly DueRule[]): Named<HostTensor> {
  const inputs = inContext(facts)
    .filter(({ rule }) => rule.sketch !== undefined)
    .map(({ rule, context }) => {
      const open = due.some((entry) => entry.context.key === context.key) ? 1 : 0;
      return { [context.key]: scalar(open), ...keyed(rule.sketchInputs?.(context) ?? {}, context.key) };
    });
  return Object.assign({}, ...inputs) as Named<HostTensor>;
}

export interface RefreshValues {
  /** Whole gradients by key. */
  readonly gradients: Named<HostTensor>;
  /** What `sketch` returned. */
  readonly sketches: Named<HostTensor>;
  readonly engine: Engine;
}

/** One after the other: each may need as much memory as a gradient. */
export async function refreshRules(
  due: readonly DueRule[],
  { gradients, sketches, engine }: RefreshValues,
): Promise<void> {
  for (const { rule, context } of due) {
    const gradient = gradients[context.key];
    const values =
      rule.sketch === undefined ? (gradient === undefined ? {} : { gradient }) : tensorsOf(sketches, context.key);
    // Without a gradient the parameter is not updated either.
    if (Object.keys(values).length > 0) await rule.refresh?.({ ...context, values, runner: engine });
  }
}
