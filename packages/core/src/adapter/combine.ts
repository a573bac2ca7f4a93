import { isDeepStrictEqual } from "node:util";
import { PeftError } from "../errors.ts";
import { areAlike } from "../method/alike.ts";
import type { CombineOptions, Method } from "../method/method.ts";
import type { PeftModel } from "../peftModel.ts";
import { cloneTensor, type HostTensor } from "../tensors.ts";
import { hostSite, type Adapter } from "./adapter.ts";
import { createFormed, ownValues, type OwnValue } from "./formed.ts";
import { checkNewName, findAdapter } from "./names.ts";

/** How to combine, and settings of the method's own. */
export interface CombineAdaptersOptions extends CombineOptions {
  /** Names of attached adapters, of one method or of methods that combine alike. */
  readonly adapters: readonly string[];
  /** One per adapter. */
  readonly weights: readonly number[];
  /** Of the new adapter. */
  readonly name: string;
  /** The one of `adapters` whose saved modules the new one gets. Needed where they differ. */
  readonly modulesFrom?: string;
}

/**
 * Attaches a new adapter made of several ones; it does not become active. Which types of combination there are, their settings, and
 * of which method the result is, the first one's method says (its own unless it names another). Saved modules are no sum: they are
 * taken over where the adapters agree, or from `modulesFrom`.
 * @throws PeftError `ADAPTER_UNKNOWN`, `ADAPTER_EXISTS`, `ADAPTER_NAME_INVALID`, `CONFIG_INVALID`, `COMBINE_UNSUPPORTED` (methods that
 * do not combine alike, or one that cannot), `COMBINE_CONFLICT` (saved modules that differ).
 */
export async function combineAdapters(
  model: PeftModel,
  { adapters: names, weights, name, modulesFrom, ...options }: CombineAdaptersOptions,
): Promise<Adapter> {
  checkNewName(model.adapters, name);
  const adapters = names.map((each) => findAdapter(model.adapters, each));
  checkWeights(names, weights);
  const { base } = model;
  const { method, combine } = combiner(adapters);
  const form = combine({
    adapters: adapters.map(({ config }, i) => ({ config, weight: weights[i] as number })),
    sites: base.sites.flatMap((site) => {
      const parts = adapters.map((adapter) => {
        const layer = adapter.layers.find((each) => each.site.path === site.path);
        return layer === undefined ? null : hostSite(adapter, layer);
      });
      return parts.every((part) => part === null) ? [] : [{ site, parts }];
    }),
    options,
  });
  const sources = modulesFrom === undefined ? adapters : [sourceOf(adapters, modulesFrom)];
  const adapter = await createFormed(base, {
    ...{ name, form, method: form.method ?? method, by: `combine of method "${method.name}"` },
    modulesToSave: sources.flatMap(({ modulesToSave }) => modulesToSave),
    own: agreedValues(sources),
  });
  model.insert(adapter);
  return adapter;
}

function checkWeights(names: readonly string[], weights: readonly number[]): void {
  if (names.length > 0 && names.length === weights.length && weights.every(Number.isFinite)) return;
  throw new PeftError(
    "CONFIG_INVALID",
    `combineAdapters needs adapters and one finite weight for each, got ${JSON.stringify(names)} with weights ${JSON.stringify(weights)}.`,
  );
}

function combiner([first, ...others]: readonly Adapter[]): {
  readonly method: Method;
  readonly combine: NonNullable<Method["combine"]>;
} {
  const { method, name } = first as Adapter;
  const other = others.find((adapter) => !areAlike(method, adapter.method, "combine"));
  if (other !== undefined) {
    throw new PeftError(
      "COMBINE_UNSUPPORTED",
      `The adapter "${name}" is of method "${method.name}" and "${other.name}" of "${other.method.name}". Only adapters of methods that combine alike go together; ` +
        `setActive(["${name}", "${other.name}"]) applies both.`,
    );
  }
  if (method.combine === undefined) {
    throw new PeftError(
      "COMBINE_UNSUPPORTED",
      `Method "${method.name}" does not combine adapters. setActive applies several at once where the method allows it.`,
    );
  }
  return { method, combine: (context) => (method.combine as NonNullable<Method["combine"]>)(context) };
}

function sourceOf(adapters: readonly Adapter[], name: string): Adapter {
  const source = adapters.find((adapter) => adapter.name === name);
  if (source !== undefined) return source;
  throw new PeftError(
    "CONFIG_INVALID",
    `modulesFrom names "${name}", which is not combined. It is one of: ${adapters.map((adapter) => adapter.name).join(", ")}.`,
  );
}

/** What the adapters have of their own, with new memory; tied parameters share it. */
function agreedValues(adapters: readonly Adapter[]): Map<string, OwnValue> {
  const agreed = new Map<string, OwnValue>();
  const copies = new Map<HostTensor, HostTensor>();
  for (const [name, own] of adapters.flatMap(ownValues)) {
    const present = agreed.get(name);
    if (present === undefined) {
      const copy = copies.get(own.tensor) ?? cloneTensor(own.tensor);
      copies.set(own.tensor, copy);
      agreed.set(name, { ...own, tensor: copy });
    } else if (!isDeepStrictEqual([present.tensor, present.rows?.ids], [own.tensor, own.rows?.ids])) {
      const names = adapters.filter((adapter) => ownValues(adapter).some(([other]) => other === name));
      throw new PeftError(
        "COMBINE_CONFLICT",
        `The adapters ${names.map((adapter) => `"${adapter.name}"`).join(" and ")} have different values of "${name}", which they train in full. ` +
          `Say whose the new adapter gets: modulesFrom: "${names[0]?.name as string}".`,
      );
    }
  }
  return agreed;
}
