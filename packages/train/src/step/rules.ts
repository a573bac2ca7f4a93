import type { HostTensor, Named, ParameterRule } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { keyed, scalar, tensorsOf } from "../optim/tensors.ts";
import type { Clocks } from "./clocks.ts";
import type { Layout } from "./layout.ts";

export interface DueOptions {
  readonly layout: Layout;
  readonly clocks: Clocks;
  readonly step: number;
  readonly learns: (block: number) => boolean;
  readonly state: Named<HostTensor>;
}

/** A parameter with a rule, e.g. one that is to be refreshed before this step's update. */
export interface DueRule {
  readonly rule: ParameterRule;
  readonly context: { readonly key: string; readonly updates: number; readonly state: Named<HostTensor> };
}

/** Those of them that learn in this step. */
export function dueRules(facts: DueOptions): DueRule[] {
  const { layout, learns } = facts;
  return ruled(facts).filter(({ rule, context }) => {
    const block = layout.blocks[context.key];
    return (block === undefined || learns(block)) && rule.refreshDue?.(context) === true;
  });
}

function ruled({ layout, clocks, step, state }: DueOptions): DueRule[] {
  return layout.single.flatMap((key) => {
    const rule = layout.rules[key];
    if (rule === undefined) return [];
    return [{ rule, context: { key, updates: clocks.count(layout.blocks[key], step), state: tensorsOf(state, key) } }];
  });
}

/**
 * What the program `sketch` is given: of each rule that reduces its gradient, whether it is due, and what it asks for. The same tensors
 * whichever rules are due, so that one program serves them all.
 */
export function sketchInputs(facts: DueOptions, due: readonly DueRule[]): Named<HostTensor> {
  const inputs = ruled(facts)
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
